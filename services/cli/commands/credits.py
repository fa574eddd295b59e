"""`tiermesh credits …` and `tiermesh balance`."""

from __future__ import annotations

import secrets

import click

from services.cli.commands.options import management
from services.cli.errors import CliError
from services.cli.management.clients import BillingClient
from services.cli.management.output import to_row
from services.cli.management.recording import recorded, was_refused
from services.cli.management.session import Session, find_account
from services.cli.management.wording import credits_text
from tiermesh.billing.v1 import billing_pb2

_MAX_INT64 = 2**63 - 1


@click.group("credits")
def credits_group() -> None:
    """Grant credits to accounts."""


@credits_group.command()
@click.argument("account")
@click.argument("amount", metavar="CREDITS", type=click.IntRange(1, _MAX_INT64))
@click.option("--note", default="", help="The reason, for people.")
@click.option(
    "--grant-id", default="", help="A unique ID of the grant. A repeated grant with the same ID has no effect."
)
@management("auth", "billing")
async def grant(session: Session, account: str, amount: int, note: str, grant_id: str) -> None:
    """Grant CREDITS to ACCOUNT (ID or name). One credit is one US cent."""
    account_id = await find_account(session, account)
    # Made here, so that what may have been granted can be repeated.
    grant_id = grant_id or f"grant_{secrets.token_hex(12)}"
    request = billing_pb2.GrantRequest(account_id=account_id, credits=amount, note=note, grant_id=grant_id)
    detail = f"{amount} credits. {note}".strip()
    async with recorded(session, "grant_credits", account_id, detail), session.billing() as billing:
        response = await _grant(billing, request)
    session.output.record(
        {"grant_id": response.grant_id, **to_row(response.balance)},
        f"Grant {response.grant_id}: {account_id} now has {credits_text(response.balance.available)} to spend.",
    )


async def _grant(billing: BillingClient, request: billing_pb2.GrantRequest) -> billing_pb2.GrantResponse:
    try:
        return await billing.call(billing.stub.Grant, request)
    except CliError as error:
        if was_refused(error):
            raise
        raise CliError(
            f"{error.message} Whether the credits were granted is unknown. Repeat the command with --grant-id "
            f"{request.grant_id}: then they are granted once."
        ) from error.__cause__


@click.command()
@click.argument("account", required=False)
@management("auth", "billing")
async def balance(session: Session, account: str | None) -> None:
    """Show the credits of an account.

    ACCOUNT is an ID or a name, by default the local mesh's account.
    """
    account_id = await find_account(session, account)
    async with session.billing() as billing:
        response = await billing.call(billing.stub.GetBalance, billing_pb2.GetBalanceRequest(account_id=account_id))
    found = response.balance
    held = f", and {found.held:,} held for requests in progress" if found.held else ""
    more = f"\nTo grant more: {session.command(f'credits grant {account_id} 1000')}" if found.available <= 0 else ""
    session.output.record(to_row(found), f"{account_id} has {credits_text(found.available)} to spend{held}.{more}")
