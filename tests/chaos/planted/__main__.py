"""`python -m tests.chaos.planted` runs each planted mistake under faults that are drawn; `make chaos-planted` calls it.

The tests choose the fault that shows a mistake. Here, a few seeds have to be enough.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, replace

from tests.chaos.driver import run_plan
from tests.chaos.plan import Floor, make_plan, with_deposits

_SEEDS = range(1, 4)
_REQUESTS = 300


@dataclass(frozen=True, slots=True)
class Mistake:
    """Services that are replaced, and what the checker has to say of it."""

    modules: dict[str, str]
    kinds: frozenset[str]
    database_server: bool = False
    faults: int = 10
    chain: bool = False


def _mistake(kind: str, *, database_server: bool = False, **modules: str) -> Mistake:
    paths = {name: f"tests.chaos.planted.{module}" for name, module in modules.items()}
    return Mistake(paths, frozenset({kind}), database_server)


MISTAKES = {
    "late settlement": _mistake("charge at the end", edge="late_settle"),
    "double settlement": _mistake("wrong charge", billing="double_settle"),
    "the edge's end booked as the client's": _mistake("wrong charge", edge="booked_drain"),
    "late Reserve": _mistake("orphan hold", billing="late_reserve", database_server=True),
    "runner that swallows": replace(
        _mistake("starved", edge="no_progress_watch"),
        modules={
            "edge": "tests.chaos.planted.no_progress_watch",
            "runner-2": "tests.chaos.planted.swallowing_runner",
        },
        # So few that a request which takes all its time did not have another reason to.
        faults=2,
    ),
    "slow reader cut off": _mistake("broken", edge="cut_reader"),
    "deposits credited again": replace(_mistake("deposits", billing="forgetful_deposits"), chain=True),
}


def main() -> None:
    """Exits with status 1 if one of the mistakes is not caught."""
    missed = [name for name, mistake in MISTAKES.items() if not asyncio.run(_is_caught(name, mistake))]
    sys.exit(f"not caught: {', '.join(missed)}" if missed else 0)


async def _is_caught(name: str, mistake: Mistake) -> bool:
    for seed in _SEEDS:
        server = mistake.database_server
        drawn = make_plan(seed, requests=_REQUESTS, faults=mistake.faults, database_server=server)
        plan = replace(with_deposits(drawn) if mistake.chain else drawn, floor=Floor())
        report = await run_plan(plan, database_server=server, modules=mistake.modules)
        caught = mistake.kinds <= {violation.kind for violation in report.violations}
        print(f"{name}: {'caught' if caught else 'not seen'}, {str(report).splitlines()[0]}", flush=True)  # noqa: T201 - what the command is for
        if caught:
            return True
    return False


if __name__ == "__main__":
    main()
