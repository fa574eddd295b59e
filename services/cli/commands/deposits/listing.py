"""`tiermesh deposits …`: what has arrived from a chain, and where accounts receive it."""

from __future__ import annotations

import click

from services.cli.commands.options import management
from services.cli.management.clients import DepositClient
from services.cli.management.output import Columns, to_row
from services.cli.management.session import Session, find_account
from services.cli.management.wording import moment
from services.common.token_amount import token_text
from tiermesh.billing.v1 import deposits_pb2
from tiermesh.payments.v1 import payments_pb2

# As many as one page may have.
_PAGE = 1_000
_DEPOSITS: Columns = {
    "time": lambda row: moment(row["at_ms"], "never"),
    "account": lambda row: row["account_id"],
    "amount": lambda row: token_text(row["deposit"]["atomic"]),
    "credits": lambda row: f"{row['credits']:,}",
    "chain": lambda row: str(row["chain_id"]),
    "block": lambda row: str(row["deposit"]["block_number"]),
    "transaction": lambda row: row["deposit"]["tx_hash"],
    "log": lambda row: str(row["deposit"]["log_index"]),
}
_ADDRESSES: Columns = {
    "chain": lambda row: str(row["chain_id"]),
    "address": lambda row: row["address"],
    "index": lambda row: str(row["address_index"]),
    "since": lambda row: moment(row["at_ms"], "never"),
}


@click.group()
def deposits() -> None:
    """Show, compare and collect deposits from a chain."""


@deposits.command("list")
@click.argument("account", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many deposits to show."
)
@management("auth", "billing")
async def list_deposits(session: Session, account: str | None, limit: int) -> None:
    """Show the newest deposits of an account, or of all.

    ACCOUNT is an ID or a name. The last line is the newest.
    """
    account_id = await find_account(session, account) if account else ""
    async with session.deposits() as client:
        found = await newest_deposits(client, account_id, limit)
    nothing = f"{account_id} has received no deposits." if account_id else "No account has received a deposit."
    session.output.rows([to_row(each) for each in reversed(found)], _DEPOSITS, empty=nothing)


@deposits.command()
@click.argument("account", required=False)
@click.option("--create", is_flag=True, help="Have payments create the address if there is none.")
@management("auth", "billing", "payments")
async def address(session: Session, account: str | None, create: bool) -> None:
    """Show the deposit addresses of an account.

    ACCOUNT is an ID or a name, by default the local mesh's account.
    """
    account_id = await find_account(session, account)
    if create:
        await _create(session, account_id)
    request = deposits_pb2.ListDepositAddressesRequest(account_id=account_id)
    async with session.deposits() as client:
        found = (await client.call(client.stub.ListDepositAddresses, request)).addresses
    nothing = f"{account_id} has no deposit address. Where payments runs, --create gives it one."
    session.output.rows([to_row(each) for each in found], _ADDRESSES, empty=nothing)


async def _create(session: Session, account_id: str) -> None:
    async with session.payments() as payments:
        request = payments_pb2.GetDepositAddressRequest(account_id=account_id)
        await payments.call(payments.stub.GetDepositAddress, request)


async def newest_deposits(client: DepositClient, account_id: str, limit: int) -> list[deposits_pb2.RecordedDeposit]:
    """Returns so many of an account's deposits, or of all if it is empty, newest first; raises CliError."""
    found: list[deposits_pb2.RecordedDeposit] = []
    request = deposits_pb2.ListDepositsRequest(account_id=account_id)
    while len(found) < limit:
        request.page_size = min(limit - len(found), _PAGE)
        page = await client.call(client.stub.ListDeposits, request)
        found.extend(page.deposits)
        if not page.has_more:
            break
        request.before = found[-1].deposit_id
    return found
