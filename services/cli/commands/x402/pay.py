"""`tiermesh x402 pay`: pays for one request on the chain of a local mesh, as any program could."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import click

from services.cli.chain import dollar
from services.cli.chain.local_chain import own_key
from services.cli.chain.payment import Answer, ask, payment_header, read_terms
from services.cli.chain.rpc import Rpc
from services.cli.chain.wallet import SigningKey, read_key
from services.cli.commands.options import management
from services.cli.errors import CliError
from services.cli.management.session import Session
from services.cli.state import RunningChain
from services.common.catalog import load_catalog
from services.common.token_amount import token_text

# What the wallet gets when it cannot pay, in smallest units: as much as a hundred requests of ten credits.
_TOKENS = 10_000_000


class Paid(NamedTuple):
    """An answer, and what the wallet was asked for it, in smallest units."""

    answer: Answer
    atomic: int


@click.command()
@click.argument("prompt")
@click.option("--model", default="", help="The chat model to ask. Default: the first one of the catalog.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="How long the answer may be.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the wallet's private key. Default: a wallet of the local mesh, which gets test tokens.",
)
@management("billing")
async def pay(session: Session, prompt: str, model: str, max_tokens: int | None, key_file: Path | None) -> None:
    """Pay for the answer to PROMPT from a wallet, without an account.

    `tiermesh up --chain` starts the chain and the mesh for it.
    """
    mesh = session.local_mesh()
    if mesh is None or mesh.chain is None:
        raise CliError(
            "There is no local chain here. Start one with `tiermesh up --chain`, or choose its directory with "
            "--state-dir."
        )
    key = _key(session, key_file)
    body: dict[str, object] = {
        "model": model or _first_chat_model(session),
        "messages": [{"role": "user", "content": prompt}],
        **({"max_tokens": max_tokens} if max_tokens else {}),
    }
    url = f"{mesh.base_url}/chat/completions"
    paid = await asyncio.to_thread(_pay, url, body, mesh.chain, key, given=key_file is not None)
    content = str(json.loads(paid.answer.body)["choices"][0]["message"]["content"] or "")
    # A balance of the wallet pays first, and then nothing moves.
    how = f"in the transaction {paid.answer.transaction}" if paid.answer.transaction else "from its balance"
    session.output.record(
        {
            "answer": content,
            "wallet": key.address,
            "atomic": paid.atomic,
            "transaction": paid.answer.transaction,
        },
        f"{content}\n\n{key.address} has paid {token_text(paid.atomic)} {dollar.NAME} {how}.",
    )


def _key(session: Session, given: Path | None) -> SigningKey:
    text = given.read_text(encoding="utf-8") if given else own_key(session.chain_files.wallet_key).hexadecimal
    return read_key(text)


def _pay(url: str, body: dict[str, object], chain: RunningChain, key: SigningKey, *, given: bool) -> Paid:
    terms = read_terms(ask(url, body, {}), chain.chain_id, chain.token)
    if not given:
        rpc = Rpc(chain.url)
        if dollar.balance(rpc, key.address) < terms.atomic:
            dollar.mint(rpc, key.address, max(_TOKENS, terms.atomic))
    answer = ask(url, body, payment_header(terms, chain.chain_id, key))
    if answer.status != HTTPStatus.OK:
        raise CliError(answer.failure)
    return Paid(answer, terms.atomic)


def _first_chat_model(session: Session) -> str:
    catalog = load_catalog(session.catalog_file())
    found = next((model.id for model in catalog.models if model.kind == "chat" and model.price), None)
    if found is None:
        raise CliError("The mesh sells no chat model. Name another one with --model.")
    return found
