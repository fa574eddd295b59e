"""`tiermesh ledger …`."""

from __future__ import annotations

import sys

import click

from services.cli.commands.options import management
from services.cli.output import to_row
from services.cli.session import Session
from services.cli.wording import counted
from tiermesh.billing.v1 import billing_pb2


@click.group()
def ledger() -> None:
    """Check the books."""


@ledger.command()
@management("billing")
async def audit(session: Session) -> None:
    """Prove the ledger's invariants over all rows; exit status 1 if one is broken."""
    async with session.billing() as billing:
        found = await billing.call(billing.stub.Audit, billing_pb2.AuditRequest())
    verdict = counted(len(found.violations), "violation") if found.violations else "The ledger is sound"
    looked_at = f"{counted(found.accounts, 'account')} with {found.entries:,} entries"
    holds = counted(found.open_holds, "open hold")
    lines = [f"{verdict}: {looked_at} and {holds}.", *(f"  {violation}" for violation in found.violations)]
    session.output.record(to_row(found), "\n".join(lines))
    if found.violations:
        sys.exit(1)
