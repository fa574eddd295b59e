"""What commands that work with a chain share: which node, which token, who pays for gas, and how a file is sent."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from services.cli.chain.authorization import Transfer
from services.cli.chain.rpc import Rpc
from services.cli.chain.wallet import read_key
from services.cli.errors import CliError
from services.cli.management.output import Columns
from services.cli.management.session import Session
from services.cli.payouts.plan import SignedRefunds
from services.cli.state import write_private_json
from services.cli.sweeps.plan import SignedSweeps
from services.cli.sweeps.sender import KeySender, LocalSender, Sender
from services.cli.sweeps.sending import Sent, check_domain, send_all
from services.cli.sweeps.token import Token
from services.common.token_amount import token_text

F = TypeVar("F", bound=Callable[..., Any])

ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
_NODE_VARIABLE = "TIERMESH_CLI_RPC_URL"


def node_option(function: F) -> F:
    """Adds the option --rpc-url."""
    return click.option(
        "--rpc-url",
        default="",
        envvar=_NODE_VARIABLE,
        show_envvar=True,
        help="The URL of a node that has the state of final blocks. Default: the local chain's.",
    )(function)


def token_option(function: F) -> F:
    """Adds the option --token."""
    return click.option("--token", default="", help="The address of the token. Default: the local chain's.")(function)


def gas_key_option(function: F) -> F:
    """Adds the option --gas-key-file."""
    return click.option(
        "--gas-key-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A file with the private key that pays for gas. Default: an account of the local chain.",
    )(function)


def chosen_token(session: Session, rpc_url: str, address: str) -> Token:
    """Returns the token on the node that was named, else on the local chain."""
    if not rpc_url or not address:
        mesh = session.local_mesh()
        if mesh is None or mesh.chain is None:
            raise click.UsageError(
                f"Give --rpc-url (or {_NODE_VARIABLE}) and --token, because no local chain runs here."
            )
        rpc_url, address = rpc_url or mesh.chain.url, address or mesh.chain.token
    if not ADDRESS.fullmatch(address):
        raise click.UsageError("--token must be the address of a contract: 0x and 40 hexadecimal digits.")
    return Token(Rpc(rpc_url), address)


def chosen_sender(session: Session, rpc: Rpc, gas_key_file: Path | None, chain_id: int, *, local: bool) -> Sender:
    """Returns who pays for gas: the key of the file, else an account of the local chain."""
    if gas_key_file is not None:
        return KeySender(rpc, read_key(gas_key_file.read_text(encoding="utf-8")), chain_id)
    mesh = session.local_mesh()
    if local and mesh is not None and mesh.chain is not None:
        return LocalSender(rpc)
    raise click.UsageError("--gas-key-file is missing. Only a local chain pays for gas itself.")


async def send_file(
    session: Session,
    signed: SignedSweeps | SignedRefunds,
    named: Callable[[Transfer], str],
    *,
    gas_key_file: Path | None,
    rpc_url: str,
) -> tuple[Token, list[Sent]]:
    """Sends what was signed, and says what became of each transfer, by the address that `named` returns.

    Returns the token too. Raises CliError, and NodeError, after which the command can be run again.
    """
    token = chosen_token(session, rpc_url, signed.domain.token)
    await asyncio.to_thread(check_domain, signed.domain, token)
    sender = chosen_sender(session, token.rpc, gas_key_file, signed.domain.chain_id, local=not rpc_url)

    def send() -> list[Sent]:
        sent = []
        for each in send_all(signed.transfers, token, sender):
            sent.append(each)
            say(f"{named(each.signed.transfer)}: {each.state}{f' ({each.reason})' if each.reason else ''}")
        return sent

    return token, await asyncio.to_thread(send)


def show_sent(session: Session, sent: Sequence[Sent], name: str, named: Callable[[Transfer], str], empty: str) -> None:
    """Shows what became of each transfer, its address under a `name`; exits with status 1 unless all have moved."""
    rows = [
        {
            name: named(each.signed.transfer),
            "atomic": each.signed.transfer.atomic,
            "nonce": each.signed.transfer.nonce,
            "state": each.state,
            "reason": each.reason,
        }
        for each in sent
    ]
    columns: Columns = {
        name: lambda row: row[name],
        "amount": lambda row: token_text(row["atomic"]),
        "state": lambda row: row["state"],
        "reason": lambda row: row["reason"],
    }
    session.output.rows(rows, columns, empty=empty)
    if not all(each.moved for each in sent):
        sys.exit(1)


def write_file(path: Path, content: Any) -> None:
    """Writes what the next step reads; raises CliError."""
    try:
        write_private_json(path, content)
    except OSError as error:
        raise CliError(f"Cannot write {path}: {error.strerror}. Choose another file with --output.") from error


def say(text: str) -> None:
    """Tells a person something that is not the command's answer."""
    click.echo(text, err=True)
