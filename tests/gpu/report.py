"""What was run and what came of it, written anew after every step: a run that is cut off leaves all it has found."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Figures = dict[str, Any]


class NotRunError(Exception):
    """A step cannot be run here; the message says why."""


@dataclass
class Step:
    """One thing that was tried."""

    name: str
    # "pass", "fail" or "not run".
    outcome: str
    seconds: float
    figures: Figures = field(default_factory=dict)
    # Why, unless it passed.
    reason: str = ""


class Report:
    """Collects steps; `until` is the time of day, in seconds, after which no step is begun."""

    def __init__(self, title: str, facts: Figures, folder: Path, until: float) -> None:
        self._title = title
        self._facts = facts
        self._folder = folder
        self._until = until
        self._began = time.monotonic()
        self.steps: list[Step] = []

    @property
    def failed(self) -> bool:
        """Whether a step failed, or none passed."""
        outcomes = [step.outcome for step in self.steps]
        return "fail" in outcomes or "pass" not in outcomes

    def run(self, name: str, work: Callable[[], Awaitable[Figures]], *, limit: float = 240.0) -> None:
        """Runs one step, for `limit` seconds at most, and notes how it ended; nothing it raises goes further."""
        began = time.monotonic()
        step = Step(name, "pass", 0.0)
        left = self._until - time.time()
        if left <= 0:
            work = _no_time
        try:
            # A step that has begun may run a little over.
            step.figures = asyncio.run(_bounded(work, min(limit, max(left, 30.0))))
        except NotRunError as error:
            step.outcome, step.reason = "not run", str(error)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong belongs into the report
            traceback.print_exc()
            step.outcome, step.reason = "fail", f"{type(error).__name__}: {str(error)[:1500]}"
        step.seconds = round(time.monotonic() - began, 1)
        self._add(step)

    def skip(self, name: str, reason: str) -> None:
        """Notes that a step cannot be run here."""
        self._add(Step(name, "not run", 0.0, reason=reason))

    def write(self) -> None:
        """Writes `<title>.json` and `<title>.md`."""
        seconds = round(time.monotonic() - self._began, 1)
        document = {"facts": self._facts, "seconds": seconds, "steps": [asdict(step) for step in self.steps]}
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{self._title}.json").write_text(json.dumps(document, indent=1))
        (self._folder / f"{self._title}.md").write_text(self._markdown())

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        print(f"{step.outcome.upper():8}{step.name} [{step.seconds} s] {step.figures or step.reason}", flush=True)
        self.write()

    def _markdown(self) -> str:
        lines = [f"# {self._title}", "", *(f"- {name}: {value}" for name, value in self._facts.items()), ""]
        lines += ["| step | outcome | seconds | figures |", "|---|---|---|---|"]
        for step in self.steps:
            figures = ", ".join(f"{name} {value}" for name, value in step.figures.items())
            told = " ".join((figures or step.reason).split()).replace("|", "\\|")
            lines.append(f"| {step.name} | {step.outcome} | {step.seconds} | {told} |")
        return "\n".join(lines) + "\n"


async def _no_time() -> Figures:
    raise NotRunError("no time was left")


async def _bounded(work: Callable[[], Awaitable[Figures]], seconds: float) -> Figures:
    async with asyncio.timeout(seconds):
        return await work()
