"""Runs the checks in the prepared environment: `python -m tests.gpu.run`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from tests.gpu.place import GPU, STAND_IN, Place
from tests.gpu.report import Figures, NotRunError, Report

# Adds its steps to the report. The place is where to run them; in the directory, what is made is kept.
Steps = Callable[[Report, Place, Path], None]


def main() -> int:
    """Returns 0 if everything that could be run passed."""
    return run("test", _test)


def run(name: str, steps: Steps) -> int:
    """Runs steps as the command line says; returns 0 if everything that could be run passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stand-in", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--until", type=float, required=True)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--machine", type=json.loads, default={}, help="what was found, as JSON, for the report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tiermesh-gpu-") as folder:
        work = options.store or Path(folder)
        place = _place(stand_in=options.stand_in)
        title = f"{name}-{'stand-in' if place.stand_in else 'gpu'}"
        report = Report(title, _facts() | options.machine, options.out, options.until)
        steps(report, place, work)
    return int(report.failed)


def _test(report: Report, place: Place, work: Path) -> None:
    from tests.gpu import checks, models

    report.run("attention against the textbook", partial(checks.check_attention, place))
    tiny = models.tiny_model(place, work / "models")
    _check_model(report, place, tiny, "random Llama")
    # Of the real model many tokens are almost alike, so that 16 bits decide otherwise when an answer is resumed.
    report.run("random Llama: contract of engines", partial(checks.check_contract, place, tiny))
    real: Path | None = None
    try:
        real = models.real_model(place, work / "model", work / "models")
    except NotRunError as error:
        report.skip("SmolLM2", str(error))
    else:
        _check_model(report, place, real, "SmolLM2")
    # At the end: kernels of their own, and one that fails spoils CUDA for the rest of the process.
    report.run("random Llama: quantised caches", partial(checks.check_caches, place, tiny))
    if real is not None:
        report.run("SmolLM2: answers by every format of the cache", partial(checks.check_answer, place, real))


def _check_model(report: Report, place: Place, model: Path, name: str) -> None:
    from tests.gpu import checks

    report.run(f"{name}: logits against transformers", partial(checks.check_logits, place, model))
    report.run(f"{name}: cancelling frees pages", partial(checks.check_cancel, place, model))
    report.run(f"{name}: schema", partial(checks.check_schema, place, model))
    report.run(f"{name}: greedy answers in company", partial(checks.check_invariance, place, model))


def _place(*, stand_in: bool) -> Place:
    if not stand_in:
        return GPU
    # Two busy cores are slower with more threads.
    torch.set_num_threads(1)
    # Before anything imports the library, which would begin to compile its extension.
    import tests.torch.stand_in.engine  # noqa: F401 - for what importing it does

    return STAND_IN


def _facts() -> Figures:
    gpus = [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())]
    return {"python": sys.version.split()[0], "torch": torch.__version__, "gpus": gpus or "none: CPU stand-in"}


if __name__ == "__main__":
    sys.exit(main())
