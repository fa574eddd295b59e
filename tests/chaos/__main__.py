"""`python -m tests.chaos` runs seed after seed and prints a line for each; `make chaos MINUTES=…` calls it."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from tests.chaos.driver import Report, run_plan
from tests.chaos.plan import FULL_FAULTS, FULL_REQUESTS, make_plan, with_deposits, with_upstream


def main() -> None:
    """Exits with status 1 after the first run with a violation, whose seed and evidence are printed."""
    options = _parse()
    until = time.monotonic() + options.minutes * 60
    seed = options.seed
    while seed < options.seed + options.runs if options.runs else time.monotonic() < until:
        report = asyncio.run(_run(options, seed))
        print(report, flush=True)  # noqa: T201 - what the command is for
        if report.violations:
            sys.exit(1)
        seed += 1


async def _run(options: argparse.Namespace, seed: int) -> Report:
    server = options.database == "postgresql"
    plan = make_plan(seed, requests=options.requests, faults=options.faults, database_server=server)
    if options.upstream:
        plan = with_upstream(plan)
    if options.chain:
        plan = with_deposits(plan)
    return await run_plan(plan, database_server=server)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Hurt a mesh at work and check its books."
    )
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each further run takes the next number")
    parser.add_argument("--minutes", type=float, default=1.0, help="start no further run after so long (1)")
    parser.add_argument("--runs", type=int, default=0, help="do exactly so many runs instead")
    parser.add_argument("--requests", type=int, default=FULL_REQUESTS, help="in each run (%(default)s)")
    parser.add_argument("--faults", type=int, default=FULL_FAULTS, help="in each run (%(default)s)")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite", help="of auth and billing")
    parser.add_argument("--chain", action="store_true", help="with a chain beside the mesh, and deposits")
    parser.add_argument("--upstream", action="store_true", help="add a tier of servers with OpenAI's API")
    return parser.parse_args()


if __name__ == "__main__":
    main()
