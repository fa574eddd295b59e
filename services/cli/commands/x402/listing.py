"""`tiermesh x402 list`: what wallets have paid and not spent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import click

from services.cli.commands.options import management
from services.cli.management.clients import PayoutClient
from services.cli.management.output import Columns, to_row
from services.cli.management.session import Session
from services.common.token_amount import token_text
from tiermesh.billing.v1 import payouts_pb2

_PAGE = 1_000
_WALLETS: Columns = {
    "account": lambda row: row["account_id"],
    "available": lambda row: str(row["available"]),
    "held": lambda row: str(row["held"]),
    "owed": lambda row: token_text(row["owed_atomic"]),
}


@click.group()
def x402() -> None:
    """Look after wallets that pay for single requests."""


@x402.command("list")
@management("billing")
async def list_wallets(session: Session) -> None:
    """Show the wallets that have credits.

    It also shows what they are owed by refunds that are not made yet.
    """
    async with session.payouts() as client:
        found = [to_row(each) async for each in wallet_balances(client)]
    session.output.rows(found, _WALLETS, empty="No wallet has credits.")


async def wallet_balances(client: PayoutClient) -> AsyncIterator[payouts_pb2.WalletBalance]:
    """Yields every wallet that has credits or is owed a refund; raises CliError."""
    request = payouts_pb2.ListWalletBalancesRequest(page_size=_PAGE)
    while True:
        page = await client.call(client.stub.ListWalletBalances, request)
        for each in page.balances:
            yield each
        if not page.has_more:
            return
        request.after_account_id = page.balances[-1].account_id
