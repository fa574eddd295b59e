"""Prints what a ledger of millions of entries costs: a charge, a report of a year, and audits beside the charges.

`python -m bench.large_ledger` fills a ledger of each database by SQL, with two fifths of the requests of one account,
spread over a year. A charge is compared with one of an empty ledger in interleaved rounds, by the CPU time of billing
and of the database server, and by the bytes that are written. Both count the same beside other work on the machine;
times do not. Nobody may wait longer than 2 seconds for a balance, whatever else runs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench.large_ledger.ledgers import postgresql_ledgers, sqlite_ledgers
from bench.large_ledger.measure import compare, measure

_LEDGERS = {"sqlite": sqlite_ledgers, "postgresql": postgresql_ledgers}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.large_ledger", description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000, help="rows of the ledger (10000000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a round takes (3)")
    parser.add_argument("--rounds", type=int, default=7, help="how often charges are compared (7)")
    parser.add_argument("--database", choices=list(_LEDGERS), help="only this one")
    parser.add_argument("--only-charges", action="store_true", help="leave out reports and audits")
    parser.add_argument("--keep", type=Path, help="a folder for the filled ledgers, which the next run uses again")
    arguments = parser.parse_args()
    console = Console(width=160)
    with tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as temporary:
        kept = (arguments.keep or Path(temporary)).absolute()
        for name, ledgers in _LEDGERS.items():
            if arguments.database not in (None, name):
                continue
            folder = kept / name
            folder.mkdir(parents=True, exist_ok=True)
            with ledgers(arguments.entries, folder) as (large, empty, filled):
                title = f"{name}, {arguments.entries:,} entries" + (f", filled in {filled:.0f} s" if filled > 1 else "")
                table = Table("measured", "result", title=title)
                uvloop.run(compare(large, empty, table, arguments.seconds, arguments.rounds))
                if not arguments.only_charges:
                    uvloop.run(measure(large, table, arguments.seconds))
            console.print(table)


if __name__ == "__main__":
    main()
