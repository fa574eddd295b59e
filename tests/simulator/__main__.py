"""`python -m tests.simulator` searches for so many seconds, or runs one seed and shows all of it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

import structlog

from tests.chaos.record import End
from tests.simulator.search import new_seed, search, until


def main() -> int:
    """Returns 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, help="run only this one, and show the services' logs")
    parser.add_argument("--first-seed", type=int, default=new_seed())
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if options.seed is not None:
        return show(options.seed)
    write(f"first seed {options.first_seed}")
    return look(time.monotonic() + options.seconds, options.first_seed, options.workers)


def show(seed: int) -> int:
    """Runs one seed and tells all of it."""
    (report,) = search([seed])
    for line in (report, *report.records, f"digest {report.digest}"):
        write(line)
    return 1 if report.violations else 0


def look(moment: float, first: int, workers: int) -> int:
    """Searches until a moment of the monotonic clock, in several processes."""
    with ProcessPoolExecutor(workers) as pool:
        results = list(pool.map(look_alone, repeat(moment), range(first, first + workers), repeat(workers, workers)))
    ends = sum((each for each, _ in results), Counter[End]())
    seeds, failures = (sum(counts[at] for _, counts in results) for at in range(2))
    write(f"{seeds} seeds, {failures} of them with violations; {dict(ends)}")
    return 1 if failures else 0


def look_alone(moment: float, first: int, step: int) -> tuple[Counter[End], tuple[int, int]]:
    """Searches in this process, and returns how requests ended, and how many seeds ran and how many of them failed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    ends: Counter[End] = Counter()
    seeds = failures = 0
    for report in search(until(moment, first, step)):
        seeds += 1
        ends += report.ends
        if report.violations:
            failures += 1
            write(report)
    return ends, (seeds, failures)


def write(line: object) -> None:
    """Prints a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
