"""`tiermesh account …`."""

from __future__ import annotations

import click

from services.cli.commands.options import management
from services.cli.management.output import to_row
from services.cli.management.session import Session
from services.cli.management.wording import moment
from tiermesh.auth.v1 import auth_pb2


@click.group()
def account() -> None:
    """Create and list accounts."""


@account.command()
@click.argument("name")
@management("auth")
async def create(session: Session, name: str) -> None:
    """Create an account with the name NAME."""
    async with session.auth() as auth:
        response = await auth.call(auth.stub.CreateAccount, auth_pb2.CreateAccountRequest(name=name))
    created = response.account
    session.output.record(
        to_row(created),
        f"Created account {created.id} ({created.name}). It needs credits and a key:\n"
        f"  {session.command(f'credits grant {created.id} 1000')}\n"
        f"  {session.command(f'key create {created.id}')}",
    )


@account.command("list")
@management("auth")
async def list_accounts(session: Session) -> None:
    """List all accounts, oldest first."""
    async with session.auth() as auth:
        response = await auth.call(auth.stub.ListAccounts, auth_pb2.ListAccountsRequest())
    session.output.rows(
        [to_row(each) for each in response.accounts],
        {
            "account": lambda row: row["id"],
            "name": lambda row: row["name"],
            "created": lambda row: moment(row["created_at_ms"], "-"),
        },
        empty=f"There is no account yet. Create one with `{session.command('account create NAME')}`.",
    )
