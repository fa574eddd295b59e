"""Prints what a ledger of millions of entries costs: a charge, a report of a year, and audits beside the charges.

`python -m bench.large_ledger` fills a ledger of each database by SQL, with two fifths of the requests of one account,
spread over a year. A charge is compared with one of an empty ledger in interleaved rounds, by the CPU time of billing
and of the database server, and by the bytes that are written. Both count the same beside other work on the machine;
times do not. Nobody may wait longer than 2 seconds for a balance, whatever else runs.

An audit of the whole ledger rests nine times as long as it reads, so it would take minutes. It is held and released in
turn, and charges are measured in windows of both kinds all over it. Between the windows it does not rest. The CPU time
that it reads with is not counted as that of the charges.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench.large_ledger.audits import measure_audits
from bench.large_ledger.charges import compare, wait_until_ready
from bench.large_ledger.ledgers import postgresql_ledgers, sqlite_ledgers
from bench.large_ledger.reports import measure_reports
from bench.machine import header

_LEDGERS = {"sqlite": sqlite_ledgers, "postgresql": postgresql_ledgers}
_PARTS = ("charges", "reports", "audits")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.large_ledger", description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000, help="rows of the ledger (10000000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a round takes (3)")
    parser.add_argument("--rounds", type=int, default=7, help="how often charges are compared (7)")
    parser.add_argument("--database", choices=list(_LEDGERS), help="only this one")
    parser.add_argument("--only", choices=_PARTS, help="only this part")
    parser.add_argument("--keep", type=Path, help="a folder for the filled ledgers, which the next run uses again")
    arguments = parser.parse_args()
    parts = [arguments.only] if arguments.only else _PARTS
    console = Console(width=160)
    console.print(header(), soft_wrap=True)
    with (
        tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as temporary,
        # One event loop for all, because gRPC keeps that of its first channel.
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        kept = (arguments.keep or Path(temporary)).absolute()
        for name, ledgers in _LEDGERS.items():
            if arguments.database not in (None, name):
                continue
            folder = kept / name
            folder.mkdir(parents=True, exist_ok=True)
            with ledgers(arguments.entries, folder) as (large, empty, filled):
                title = f"{name}, {arguments.entries:,} entries" + (f", filled in {filled:.0f} s" if filled > 1 else "")
                table = Table("measured", "result", title=title)
                runner.run(wait_until_ready(large, empty))
                if "charges" in parts:
                    runner.run(compare(large, empty, table, arguments.seconds, arguments.rounds))
                if "reports" in parts:
                    runner.run(measure_reports(large, table))
                if "audits" in parts:
                    runner.run(measure_audits(large, table, arguments.entries, arguments.seconds, arguments.rounds))
            console.print(table)


if __name__ == "__main__":
    main()
