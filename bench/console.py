"""Asks every page of the owners' console for an owner with many keys and requests, and prints what each page costs.

`python -m bench.console` makes a mesh with one such owner: 1,000 keys and a million requests of a year by default,
evenly spread, which is the most that the sums by day can have. It finds the pages by the links on them, and adds the
reports of a whole year. The time is what a client on this machine waits. CPU time is that of each process, from the
kernel: on a machine that is busy with other work, it is the figure to trust.
"""

from __future__ import annotations

import argparse
import secrets
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.large_ledger.fill import DAY_MS, YEAR_MS, Owners, fill
from bench.machine import header
from bench.processes import cpu_seconds
from tests.integration.console.crawl import Crawl
from tests.integration.console.person import Owner, Person
from tests.support.mesh import LocalMesh

# What a page may take on the server, in milliseconds, and how many bytes it may have.
MOST_MS, MOST_BYTES = 100, 100_000
_SERVICES = ("console", "auth", "billing", "router")
_ENVIRON = {
    # Nothing but the pages is measured.
    "TIERMESH_BILLING_AUDIT_SECONDS": "0",
    "TIERMESH_BILLING_FULL_AUDIT_SECONDS": "0",
    # Nobody has to show the key once more.
    "TIERMESH_CONSOLE_FRESH_SECONDS": "100000",
    "TIERMESH_AUTH_MAX_KEYS_PER_ACCOUNT": "100000",
    # On a busy machine, a page that waits is measured all the same.
    "TIERMESH_CONSOLE_CALL_TIMEOUT": "100",
    "TIERMESH_CONSOLE_REPORT_TIMEOUT": "100",
    "TIERMESH_CONSOLE_REQUEST_TIMEOUT": "200",
}
_PATIENCE_SECONDS = 300.0
_GROUPS = ("day", "model", "key")


@dataclass(frozen=True)
class Cost:
    """What a page has cost: its bytes with all that it loads, times in milliseconds, CPU-milliseconds by service."""

    path: str
    size: int
    times: list[float]
    cpu: dict[str, float]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--keys", type=int, default=1000, help="keys of the owner (1000)")
    parser.add_argument("--requests", type=int, default=1_000_000, help="requests of the owner in a year (1000000)")
    parser.add_argument("--rounds", type=int, default=20, help="how often each page is asked for (20)")
    arguments = parser.parse_args()
    console = Console(width=150)
    console.print(header(), soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as folder:
        mesh = LocalMesh(Path(folder), "--console-port", "0", environ=_ENVIRON)
        with mesh:
            owner = Owner(mesh, "an owner with much of everything", amount=0)
        # Both databases are filled while nobody else writes to them.
        _make_keys(mesh.state_dir / "auth.db", owner, arguments.keys)
        fill(f"sqlite:///{mesh.state_dir / 'billing.db'}", arguments.requests, _owners(owner, arguments.keys))
        with mesh, owner.at_a_browser() as person:
            person.http.timeout = _PATIENCE_SECONDS
            costs = [_measure(mesh, person, path, arguments.rounds) for path in _paths(person)]
    console.print(_table(costs, f"{arguments.keys:,} keys, {arguments.requests:,} requests of a year"))


def _owners(owner: Owner, keys: int) -> Owners:
    """Returns the one owner of all requests; the last of them was made a moment ago."""
    began_ms = round(time.time() * 1000) - YEAR_MS - DAY_MS // 24
    return Owners(f"'{owner.account}'", f"printf('key_%024x', n % {keys})", f"'{owner.account}'", 1, began_ms)


def _make_keys(path: Path, owner: Owner, keys: int) -> None:
    """Copies the key of an owner, as often as it takes, to keys of the same account."""
    with closing(sqlite3.connect(path)) as database, database:
        database.row_factory = sqlite3.Row
        row = dict(database.execute("SELECT * FROM api_keys WHERE id = ?", (owner.key_id,)).fetchone())
        copies = [
            {
                **row,
                "id": f"key_{number:024x}",
                "digest": secrets.token_bytes(32),
                "name": f"key number {number} of an owner with much of everything",
                "created_at_ms": row["created_at_ms"] + number,
            }
            for number in range(keys)
        ]
        columns = ", ".join(row)
        database.executemany(
            f"INSERT INTO api_keys ({columns}) VALUES ({', '.join(f':{name}' for name in row)})",
            copies,
        )


def _paths(person: Person) -> Iterable[str]:
    """Returns every page that links lead to, and the reports of a year."""
    pages = Crawl(person, ("/", "/confirm")).pages
    today = datetime.now(UTC).date()
    year = f"from={today - timedelta(days=364)}&to={today}"
    reports = [f"{page}?{year}&group_by={group}" for page in ("/usage", "/usage.csv") for group in _GROUPS]
    return (*(path for path, page in pages.items() if page.status == 200), *reports)


def _measure(mesh: LocalMesh, person: Person, path: str, rounds: int) -> Cost:
    pids = {name: mesh.pids[name] for name in _SERVICES}
    size = person.weight(person.open(path))
    before, times = cpu_seconds(pids), []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = person.http.get(path)
        times.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, (path, answer.status_code)
    after = cpu_seconds(pids)
    cost = Cost(path, size, times, {name: (after[name] - before[name]) * 1000 / rounds for name in pids})
    print(cost.path, f"{statistics.median(times):.1f} ms, {sum(cost.cpu.values()):.1f} CPU-ms", flush=True)
    return cost


def _table(costs: Iterable[Cost], title: str) -> Table:
    table = Table(title=title)
    for name in ("page", "kB", "median, ms", "worst, ms", "CPU-ms", *(f"{name}, CPU-ms" for name in _SERVICES)):
        table.add_column(name, justify="left" if name == "page" else "right")
    for cost in costs:
        total = sum(cost.cpu.values())
        figures = (statistics.median(cost.times), max(cost.times), total, *cost.cpu.values())
        style = "bold red" if total > MOST_MS or cost.size > MOST_BYTES else ""
        table.add_row(cost.path, f"{cost.size / 1000:.1f}", *(f"{figure:.1f}" for figure in figures), style=style)
    return table


if __name__ == "__main__":
    main()
