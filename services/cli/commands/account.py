"""`tiermesh account …`."""

from __future__ import annotations

import click

from services.cli.commands.options import management
from services.cli.management.output import Row, to_row
from services.cli.management.recording import recorded
from services.cli.management.session import Session, find_account
from services.cli.management.wording import moment
from tiermesh.auth.v1 import auth_pb2


@click.group()
def account() -> None:
    """Create, list, suspend, resume and reopen accounts."""


@account.command()
@click.argument("name")
@management("auth")
async def create(session: Session, name: str) -> None:
    """Create an account with the name NAME."""
    async with recorded(session, "create_account", detail=name), session.auth() as auth:
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
            "state": _state,
        },
        empty=f"There is no account yet. Create one with `{session.command('account create NAME')}`.",
    )


@account.command()
@click.argument("name", metavar="ACCOUNT")
@click.option("--reason", default="", help="The reason, for the record.")
@management("auth")
async def suspend(session: Session, name: str, reason: str) -> None:
    """Suspend ACCOUNT (ID or name). All its keys are refused, and it is signed out. Its credits are kept."""
    account_id = await find_account(session, name)
    async with recorded(session, "suspend_account", account_id, reason), session.auth() as auth:
        request = auth_pb2.SuspendAccountRequest(account_id=account_id)
        response = await auth.call(auth.stub.SuspendAccount, request)
    session.output.record(
        to_row(response.account),
        f"Suspended {account_id}. Requests with its keys now get status 403.\n"
        f"To resume it: {session.command(f'account resume {account_id}')}",
    )


@account.command()
@click.argument("name", metavar="ACCOUNT")
@click.option("--reason", default="", help="The reason, for the record.")
@management("auth")
async def resume(session: Session, name: str, reason: str) -> None:
    """Resume the suspended ACCOUNT (ID or name). Its keys work again."""
    account_id = await find_account(session, name)
    async with recorded(session, "resume_account", account_id, reason), session.auth() as auth:
        response = await auth.call(auth.stub.ResumeAccount, auth_pb2.ResumeAccountRequest(account_id=account_id))
    session.output.record(to_row(response.account), f"Resumed {account_id}. Its keys work again.")


@account.command()
@click.argument("name", metavar="ACCOUNT")
@click.option("--reason", default="", help="The reason, for the record.")
@management("auth")
async def reopen(session: Session, name: str, reason: str) -> None:
    """Reopen ACCOUNT (ID or name), which its owner has closed. Its keys work again."""
    account_id = await find_account(session, name)
    async with recorded(session, "reopen_account", account_id, reason), session.auth() as auth:
        response = await auth.call(auth.stub.ReopenAccount, auth_pb2.ReopenAccountRequest(account_id=account_id))
    session.output.record(to_row(response.account), f"Reopened {account_id}. Its keys work again.")


def _state(row: Row) -> str:
    marks = {"closed": row["closed_at_ms"], "suspended": row["suspended_at_ms"]}
    return ", ".join(f"{name} {moment(at_ms, '')}" for name, at_ms in marks.items() if at_ms)
