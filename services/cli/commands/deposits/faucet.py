"""`tiermesh faucet`: test tokens for anybody, on the chain of a local mesh."""

from __future__ import annotations

import asyncio
import re
import time

import click

from services.cli.chain.dollar import NAME, mint
from services.cli.chain.rpc import Rpc
from services.cli.commands.deposits.listing import newest_deposits
from services.cli.commands.options import management
from services.cli.errors import CliError
from services.cli.management.session import Session, find_account
from services.cli.management.wording import credits_text
from services.cli.state import RunningChain
from services.common.token_amount import parse_amount, token_text
from tiermesh.billing.v1 import billing_pb2, deposits_pb2
from tiermesh.payments.v1 import payments_pb2

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
# Payments looks for new blocks twice a second.
_CREDITED_SECONDS = 20.0
_POLL_SECONDS = 0.1
# A deposit that was just made is among so many of the account's.
_NEWEST = 100


class _Amount(click.ParamType[int]):
    name = "amount"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            atomic = parse_amount(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        if not atomic:
            self.fail("the amount must be more than 0.", param, ctx)
        return atomic


@click.command()
@click.argument("to", metavar="ACCOUNT|ADDRESS")
@click.argument("atomic", metavar="AMOUNT", type=_Amount())
@management("auth", "billing", "payments")
async def faucet(session: Session, to: str, atomic: int) -> None:
    """Make test tokens on the chain of a local mesh.

    They are for an account (ID or name) or for an address. For an account, the command returns when it has its credits.
    One test token gives 100 credits. `tiermesh up --chain` starts the chain.
    """
    chain = _chain(session)
    if _ADDRESS.fullmatch(to):
        tx = await asyncio.to_thread(mint, Rpc(chain.url), to, atomic)
        session.output.record(
            {"address": to, "atomic": atomic, "tx_hash": tx}, f"{to} has received {token_text(atomic)} {NAME}."
        )
        return
    account_id = await find_account(session, to)
    address = await _address(session, account_id)
    tx = await asyncio.to_thread(mint, Rpc(chain.url), address, atomic)
    deposit = await _credited(session, account_id, tx)
    async with session.billing() as billing:
        request = billing_pb2.GetBalanceRequest(account_id=account_id)
        balance = (await billing.call(billing.stub.GetBalance, request)).balance
    session.output.record(
        {
            "address": address,
            "atomic": atomic,
            "tx_hash": tx,
            "account_id": account_id,
            "credits": deposit.credits,
            "available": balance.available,
        },
        f"{address} has received {token_text(atomic)} {NAME}. "
        f"{account_id} has been credited {deposit.credits:,}, and has {credits_text(balance.available)} to spend.",
    )


def _chain(session: Session) -> RunningChain:
    mesh = session.local_mesh()
    if mesh is None or mesh.chain is None:
        raise CliError(
            "There is no local chain here. Start one with `tiermesh up --chain`, or choose its directory with "
            "--state-dir."
        )
    return mesh.chain


async def _address(session: Session, account_id: str) -> str:
    async with session.payments() as payments:
        request = payments_pb2.GetDepositAddressRequest(account_id=account_id)
        found = await payments.call(payments.stub.GetDepositAddress, request)
    return found.address


async def _credited(session: Session, account_id: str, tx: str) -> deposits_pb2.RecordedDeposit:
    """Returns the deposit once billing has it; raises CliError."""
    deadline = time.monotonic() + _CREDITED_SECONDS
    async with session.deposits() as client:
        while time.monotonic() < deadline:
            for found in await newest_deposits(client, account_id, _NEWEST):
                if found.deposit.tx_hash == tx:
                    return found
            await asyncio.sleep(_POLL_SECONDS)
    raise CliError(f"The tokens have arrived, but were not credited within {_CREDITED_SECONDS:g} s. See payments' log.")
