"""Runs the measurements in the prepared environment: `python -m bench.gpu.run`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tests.gpu.place import Place
from tests.gpu.report import Report
from tests.gpu.run import run


def main() -> int:
    """Returns 0 if everything that could be run passed."""
    return run("bench", _bench)


def _bench(report: Report, place: Place, work: Path) -> None:
    from bench.gpu import speed
    from tests.gpu import checks

    report.run("attention against the textbook", partial(checks.check_attention, place))
    report.run("SmolLM2: through the engine", partial(speed.alone, place, work))
    # Each makes its weights as a part of its step, which takes a while for the larger ones.
    for name, shape in place.random.items():
        compare = partial(speed.compare, place, name, shape, work)
        report.run(f"random Llama {name}: through the engine and through the mesh", compare, limit=300)


if __name__ == "__main__":
    sys.exit(main())
