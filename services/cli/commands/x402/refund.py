"""`tiermesh x402 refund …`: give wallets back what they have paid and not spent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import click

from services.cli.chain.authorization import Domain
from services.cli.chain.wallet import read_key
from services.cli.commands.chain_options import (
    chosen_token,
    gas_key_option,
    node_option,
    say,
    send_file,
    show_sent,
    token_option,
    write_file,
)
from services.cli.commands.options import management
from services.cli.commands.x402.listing import wallet_balances
from services.cli.errors import CliError
from services.cli.management.session import Session
from services.cli.payouts.plan import RefundPlan, SignedRefunds, plan_refunds, sign_refunds
from services.cli.payouts.transfers import block_at, find_transfer
from services.cli.sweeps.plan import read_file
from services.cli.sweeps.sending import Sent, until_final
from services.cli.sweeps.token import Token
from services.common.token_amount import token_text
from tiermesh.billing.v1 import payouts_pb2

_HOURS = 72
# By how much the clocks of billing and of the chain may differ, in seconds.
_SKEW_SECONDS = 3600


@click.group()
def refund() -> None:
    """Give wallets back what they have not spent."""


@refund.command()
@click.argument("accounts", nargs=-1)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The file to write.")
@click.option(
    "--hours", type=click.IntRange(1, 720), default=_HOURS, show_default=True, help="How long signatures are valid."
)
@node_option
@token_option
@management("billing")
async def plan(session: Session, accounts: tuple[str, ...], output: Path, hours: int, rpc_url: str, token: str) -> None:
    """Write a plan of refunds.

    The credits of the wallets leave the ledger, and the plan has what the wallets get back. ACCOUNTS are those that
    `tiermesh x402 list` shows. Without any, all wallets of the chain get back what they have.
    """
    asked = chosen_token(session, rpc_url, token)
    chain_id = await asyncio.to_thread(asked.chain_id)
    name, version = await asyncio.to_thread(asked.name_and_version)
    domain = Domain(chain_id=chain_id, token=asked.address, name=name, version=version)
    payouts = await _open_payouts(session, domain, accounts)
    latest = await asyncio.to_thread(asked.block, "latest")
    oldest = min((each.at_ms / 1000 for each in payouts), default=0.0)
    block = await asyncio.to_thread(block_at, asked, oldest - _SKEW_SECONDS) if payouts else 0
    made = plan_refunds(domain, payouts, block=block, valid_before=int(latest["timestamp"], 16) + hours * 3600)
    write_file(output, made)
    total = sum(each.atomic for each in made.refunds)
    session.output.record(
        {"file": str(output), "wallets": len(made.refunds), "atomic": total},
        f"{output} plans {token_text(total)} {name} for {len(made.refunds)} wallets. Sign it offline: "
        f"tiermesh x402 refund sign {output} --output signed.json",
    )


@refund.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The file to write.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the private key of the address that wallets have paid. Default: it is asked for.",
)
def sign(file: Path, output: Path, key_file: Path | None) -> None:
    """Sign a plan of refunds.

    The private key is that of the address that wallets have paid. This command needs no network.
    """
    found = read_file(file, RefundPlan)
    key = read_key(key_file.read_text(encoding="utf-8") if key_file else _asked_for_key())
    signed, left_out = sign_refunds(found, key)
    for each in signed.refunds:
        say(f"{each.refund.wallet} gets {token_text(each.refund.atomic)}")
    if left_out:
        say(f"{left_out} refunds are owed by another address than {key.address}. Sign the plan again with its key.")
    write_file(output, signed)
    total = sum(each.refund.atomic for each in signed.refunds)
    click.echo(
        f"{output} moves {token_text(total)} {found.domain.name} on the chain {found.domain.chain_id} from "
        f"{key.address} to {len(signed.refunds)} wallets. Send it: tiermesh x402 refund send {output}"
    )


@refund.command()
@click.argument("file", type=click.Path(path_type=Path))
@gas_key_option
@node_option
@management("billing")
async def send(session: Session, file: Path, gas_key_file: Path | None, rpc_url: str) -> None:
    """Send signed refunds, and have billing record them.

    The command waits until they are final. Sending a file again moves nothing twice. Exits with status 1 if a refund
    was not made.
    """
    signed = read_file(file, SignedRefunds)
    wallet = attrgetter("receiver")
    token, sent = await send_file(session, signed, wallet, gas_key_file=gas_key_file, rpc_url=rpc_url)
    if any(each.moved for each in sent):
        sent = await _record(session, signed, token, sent)
    show_sent(session, sent, "wallet", wallet, "The file has no refunds.")


async def _open_payouts(session: Session, domain: Domain, accounts: Sequence[str]) -> list[payouts_pb2.Payout]:
    found = []
    async with session.payouts() as client:
        prefix = f"wallet:eip155:{domain.chain_id}:"
        every = [each.account_id async for each in wallet_balances(client)] if not accounts else []
        for account in accounts or (each for each in every if each.startswith(prefix)):
            request = payouts_pb2.OpenPayoutRequest(account_id=account)
            try:
                payout = (await client.call(client.stub.OpenPayout, request)).payout
            except CliError as error:
                if accounts:
                    raise
                say(error.message)
                continue
            if (payout.chain_id, payout.token) == (domain.chain_id, domain.token):
                found.append(payout)
            else:
                say(f"{account} has paid in the token {payout.token} on the chain {payout.chain_id}: plan that too.")
    return found


async def _record(session: Session, signed: SignedRefunds, token: Token, sent: Sequence[Sent]) -> list[Sent]:
    """Has billing record what has moved, once it is final; a nonce that was used otherwise has moved nothing."""
    head = await asyncio.to_thread(until_final, token)
    recorded, found = 0, []
    async with session.payouts() as client:
        for each, planned in zip(sent, signed.refunds, strict=True):
            made = None
            if each.moved:
                made = await asyncio.to_thread(find_transfer, token, each.signed.transfer, signed.block, head)
            if made is not None:
                made.payout_id = planned.refund.payout_id
                recorded += (await client.call(client.stub.RecordPayout, made)).recorded
            reason = "its nonce was cancelled, or the node has lost the transfer; look at the treasury in an explorer"
            found.append(each if made is not None or not each.moved else Sent(each.signed, "refused", reason))
    say(f"billing has recorded {recorded} more refunds")
    return found


def _asked_for_key() -> str:
    return str(click.prompt("Private key of the address that wallets have paid", hide_input=True, err=True))
