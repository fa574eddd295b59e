"""`tiermesh ledger …`: the entries page by page, and as a CSV file that is complete or absent."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from services.cli.commands.options import management
from services.cli.errors import CliError
from services.cli.management.clients import BillingClient
from services.cli.management.output import Columns, to_row
from services.cli.management.session import Session, find_account
from services.cli.management.wording import counted
from tiermesh.billing.v1 import billing_pb2

# What stands for standard output.
STANDARD_OUTPUT = "-"

WriteRow = Callable[[Sequence[object]], object]


# As many as one page of an account's entries may have.
# An audit of the whole ledger rests so often that it takes minutes for millions of entries.
_AUDIT_SECONDS = 86_400.0
_STATEMENT_PAGE = 1_000
_EXPORT_PAGE = 5_000
# Programs read these: new columns go to the end.
_CSV_COLUMNS = ("entry_id", "at", "reference", "kind", "account_id", "pocket", "amount")


@contextmanager
def csv_file(path: str) -> Iterator[WriteRow]:
    """Gives a function that writes one row. A file gets its name only once it is complete; raises CliError."""
    if path == STANDARD_OUTPUT:
        yield csv.writer(sys.stdout, lineterminator="\n").writerow
        return
    part = Path(f"{path}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield csv.writer(file, lineterminator="\n").writerow
        part.replace(path)
    except OSError as error:
        raise CliError(f"Cannot write {path}: {error.strerror}. Choose another file with --csv.") from error
    finally:
        part.unlink(missing_ok=True)


async def newest_entries(billing: BillingClient, account_id: str, limit: int) -> list[billing_pb2.AccountEntry]:
    """Returns an account's newest entries, oldest first, each with the balance after it; raises CliError."""
    found: list[billing_pb2.AccountEntry] = []
    token = ""
    while len(found) < limit:
        request = billing_pb2.ListEntriesRequest(
            account_id=account_id, page_size=min(limit - len(found), _STATEMENT_PAGE), page_token=token
        )
        page = await billing.call(billing.stub.ListEntries, request)
        found.extend(page.entries)
        token = page.next_page_token
        if not token:
            break
    found.reverse()
    return found


async def all_entries(billing: BillingClient, account_id: str) -> AsyncIterator[billing_pb2.Entry]:
    """Yields every entry of an account (empty for all) that exists now, oldest first; raises CliError."""
    token = ""
    while True:
        request = billing_pb2.ExportEntriesRequest(account_id=account_id, page_size=_EXPORT_PAGE, page_token=token)
        page = await billing.call(billing.stub.ExportEntries, request)
        for entry in page.entries:
            yield entry
        token = page.next_page_token
        if not token:
            return


_STATEMENT: Columns = {
    "time": lambda row: _iso(row["at_ms"]),
    "kind": lambda row: row["kind"],
    "reference": lambda row: row["reference"],
    "pocket": lambda row: row["pocket"],
    "credits": lambda row: f"{row['amount']:+,}",
    "available": lambda row: f"{row['available_after']:,}",
    "held": lambda row: f"{row['held_after']:,}",
}


@click.group()
def ledger() -> None:
    """Show, export and audit the ledger."""


@ledger.command()
@click.option("--new", is_flag=True, help="Check only what came since the last audit, and all balances.")
@management("billing")
async def audit(session: Session, *, new: bool) -> None:
    """Check the ledger's invariants over all rows. Exits with status 1 if a check fails."""
    scope = billing_pb2.AUDIT_SCOPE_NEW if new else billing_pb2.AUDIT_SCOPE_WHOLE
    async with session.billing() as billing:
        found = await billing.call(billing.stub.Audit, billing_pb2.AuditRequest(scope=scope), timeout=_AUDIT_SECONDS)
    verdict = counted(len(found.violations), "violation") if found.violations else "The ledger is sound"
    looked_at = f"{counted(found.accounts, 'account')} with {found.entries:,} entries"
    holds = counted(found.open_holds, "open hold")
    lines = [f"{verdict}: {looked_at} and {holds}.", *(f"  {violation}" for violation in found.violations)]
    session.output.record(to_row(found), "\n".join(lines))
    if found.violations:
        sys.exit(1)


@ledger.command()
@click.argument("account")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many entries to show."
)
@management("auth", "billing")
async def show(session: Session, account: str, limit: int) -> None:
    """Show the newest entries of an account.

    ACCOUNT is an ID or a name. Each entry has the balance after it. The last line is the newest.
    """
    account_id = await find_account(session, account)
    async with session.billing() as billing:
        lines = await newest_entries(billing, account_id, limit)
    rows = [
        {**to_row(line.entry), "available_after": line.available_after, "held_after": line.held_after} for line in lines
    ]
    session.output.rows(rows, _STATEMENT, empty=f"{account_id} has no entries, because no credits were granted to it.")


@ledger.command()
@click.option(
    "--csv",
    "file",
    is_flag=False,
    flag_value=STANDARD_OUTPUT,
    required=True,
    metavar="[FILE]",
    help="Write CSV to FILE, or to standard output without FILE.",
)
@click.option("--account", help="Export only this account (ID or name).")
@management("auth", "billing")
async def export(session: Session, file: str, account: str | None) -> None:
    """Write every entry that is committed now, oldest first. The mesh keeps running."""
    account_id = await find_account(session, account) if account else ""
    count = 0
    async with session.billing() as billing:
        with csv_file(file) as write_row:
            write_row(_CSV_COLUMNS)
            async for entry in all_entries(billing, account_id):
                write_row(_csv_row(entry))
                count += 1
    if file != STANDARD_OUTPUT:
        entries = "1 entry" if count == 1 else f"{count:,} entries"
        session.output.record({"file": file, "entries": count}, f"Wrote {entries} to {file}.")


def _csv_row(entry: billing_pb2.Entry) -> tuple[object, ...]:
    account = entry.account_id, entry.pocket, entry.amount
    return entry.entry_id, _iso(entry.at_ms), entry.reference, entry.kind, *account


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
