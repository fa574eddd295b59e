"""A short search with new seeds each time, and what makes a seed worth something: that it does the same again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter

from tests.chaos.record import End
from tests.simulator.search import new_seed, search, until

# Of real time. How many seeds that makes depends on the machine.
_SECONDS = 10.0
# Searches these seeds instead.
_VARIABLE = "TIERMESH_SIMULATE_FIRST_SEED"


def test_new_seeds_show_no_violation() -> None:
    first = int(os.environ.get(_VARIABLE) or new_seed())
    sys.stdout.write(f"first seed {first}\n")
    ends: Counter[End] = Counter()
    for report in search(until(time.monotonic() + _SECONDS, first)):
        assert not report.violations, f"{report}\nRun it again: python -m tests.simulator --seed {report.plan.seed}"
        ends += report.ends
    # A mesh that refuses everything charges nothing wrongly.
    assert ends[End.COMPLETE] >= 0.4 * ends.total() > 0, ends


def test_a_seed_does_the_same_again_in_another_process() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulator", "--seed", "74"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests |= set(re.findall(r"^digest (\w+)$", done.stdout, re.MULTILINE))
    assert len(digests) == 1, digests


def test_a_seed_does_the_same_again_after_others() -> None:
    first, *_, last = (report.digest for report in search([7, 8, 9, 7]))
    assert first == last
