"""`tiermesh deposits check` and `tiermesh deposits sweep …`: compare the books with the chain, and collect tokens."""

from __future__ import annotations

import asyncio
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

import click

from services.cli.chain.authorization import Domain
from services.cli.chain.wallet import Wallet
from services.cli.commands.chain_options import (
    ADDRESS,
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
from services.cli.management.output import Columns, to_row
from services.cli.management.session import Session
from services.cli.sweeps.authorization import sign_plan
from services.cli.sweeps.comparison import Compared, Comparison, compare, record
from services.cli.sweeps.plan import PlannedSweep, SignedSweeps, SweepPlan, read_file, sweep_nonce
from services.cli.sweeps.sending import final_transfers
from services.common.ethereum.addresses import with_checksum
from services.common.token_amount import parse_amount, token_text

_HOURS = 72

_COMPARED: Columns = {
    "address": lambda row: row["address"],
    "account": lambda row: row["account_id"],
    "deposited": lambda row: token_text(row["deposited"]),
    "swept": lambda row: token_text(row["swept"]),
    "should have": lambda row: token_text(row["deposited"] - row["swept"]),
    "has": lambda row: token_text(row["balance"]),
}


@click.command()
@node_option
@token_option
@management("billing")
async def check(session: Session, rpc_url: str, token: str) -> None:
    """Compare the balance of each deposit address with the ledger.

    The ledger expects deposits minus sweeps. Exits with status 1 if an address has something else.
    """
    found = await compare(session, chosen_token(session, rpc_url, token))
    total = sum(each.expected for each in found.addresses)
    session.output.rows(
        [_compared_row(each) for each in found.differences],
        _COMPARED,
        empty=f"All {len(found.addresses)} addresses have what they should after block {found.block} of the chain "
        f"{found.chain_id}: {token_text(total)} together.",
    )
    if found.differences:
        say(f"{len(found.differences)} addresses have something else than deposits minus sweeps (docs/payments.md).")
        sys.exit(1)


@click.group()
def sweep() -> None:
    """Move deposits to your own address: plan, sign offline, send."""


@sweep.command()
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The file to write.")
@click.option("--least", default="1", show_default=True, help="Leave out addresses with fewer tokens than this.")
@click.option(
    "--hours", type=click.IntRange(1, 720), default=_HOURS, show_default=True, help="How long signatures are valid."
)
@node_option
@token_option
@management("billing")
async def plan(session: Session, output: Path, least: str, hours: int, rpc_url: str, token: str) -> None:
    """Write a plan of what can be swept.

    It has every deposit address with its balance in the last block that payments has read.
    """
    asked = chosen_token(session, rpc_url, token)
    try:
        smallest = max(1, parse_amount(least))
    except ValueError as error:
        raise click.UsageError(f"--least: {error}.") from error
    found = await compare(session, asked)
    name, version = await asyncio.to_thread(asked.name_and_version)
    domain = Domain(chain_id=found.chain_id, token=asked.address, name=name, version=version)
    made = _plan(found, domain, smallest, hours)
    write_file(output, made)
    for each in found.differences:
        say(
            f"{each.books.address} has {token_text(each.balance)}, but should have {token_text(each.expected)}: "
            "see `tiermesh deposits check`"
        )
    total = sum(each.atomic for each in made.sweeps)
    session.output.record(
        {"file": str(output), "addresses": len(made.sweeps), "atomic": total, "block": made.block},
        f"{output} plans {token_text(total)} {name} of {len(made.sweeps)} addresses after block {made.block}. Sign it "
        f"offline: tiermesh deposits sweep sign {output} --to YOUR_ADDRESS --output signed.json",
    )


@sweep.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", required=True, help="Your address, with the upper-case letters that are its checksum.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The file to write.")
@click.option(
    "--mnemonic-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the mnemonic. Default: it is asked for.",
)
def sign(file: Path, to: str, output: Path, mnemonic_file: Path | None) -> None:
    """Sign a plan with the mnemonic of the deposit addresses. This command needs no network."""
    found = read_file(file, SweepPlan)
    receiver = _receiver(to)
    words = mnemonic_file.read_text(encoding="utf-8") if mnemonic_file else _asked_for_mnemonic()
    signed, left_out = sign_plan(found, Wallet(words), receiver)
    write_file(output, signed)
    if left_out:
        say(f"{left_out} addresses belong to another mnemonic. Sign the plan again with that one.")
    total = sum(each.atomic for each in signed.sweeps)
    click.echo(
        f"{output} moves {token_text(total)} {found.domain.name} on the chain {found.domain.chain_id} from "
        f"{len(signed.sweeps)} addresses to {receiver}. Send it: tiermesh deposits sweep send {output}"
    )


@sweep.command()
@click.argument("file", type=click.Path(path_type=Path))
@gas_key_option
@node_option
@management("billing")
async def send(session: Session, file: Path, gas_key_file: Path | None, rpc_url: str) -> None:
    """Send signed sweeps, and have billing record them.

    The command waits until they are final. Sending a file again moves nothing twice. Exits with status 1 if a sweep was
    not sent.
    """
    signed = read_file(file, SignedSweeps)
    address = attrgetter("sender")
    token, sent = await send_file(session, signed, address, gas_key_file=gas_key_file, rpc_url=rpc_url)
    if any(each.moved for each in sent):
        transfers = await asyncio.to_thread(final_transfers, signed, token)
        recorded = await record(session, signed.domain.chain_id, signed.domain.token, transfers)
        say(f"billing has recorded {recorded} more sweeps")
    show_sent(session, sent, "address", address, "The file has no sweeps.")


def _plan(found: Comparison, domain: Domain, smallest: int, hours: int) -> SweepPlan:
    return SweepPlan(
        domain=domain,
        block=found.block,
        block_hash=found.block_hash,
        valid_before=found.timestamp + hours * 3600,
        sweeps=tuple(
            PlannedSweep(
                address=each.books.address,
                index=each.books.address_index,
                xpub_id=each.books.xpub_id,
                atomic=each.available,
                nonce=sweep_nonce(domain, each.books.address, each.books.swept),
            )
            for each in found.addresses
            if each.available >= smallest
        ),
    )


def _receiver(text: str) -> str:
    """Returns the address; a typing error must not send tokens to nobody."""
    if not ADDRESS.fullmatch(text):
        raise click.UsageError("--to must be an address: 0x and 40 hexadecimal digits.")
    if with_checksum(text) != text:
        raise click.UsageError(
            "The letters of --to do not agree with its checksum. Copy the address as your wallet shows it."
        )
    return text


def _asked_for_mnemonic() -> str:
    return str(click.prompt("Mnemonic of the deposit addresses", hide_input=True, err=True))


def _compared_row(each: Compared) -> dict[str, Any]:
    return {**to_row(each.books), "balance": each.balance}
