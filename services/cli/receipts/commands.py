"""`tiermesh receipt …`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from services.cli.commands.options import state_directory_option
from services.cli.management.output import Printer
from services.cli.receipts.key_file import add_key, check_installed, retire_key
from services.cli.receipts.sources import KEYS_PATH, STANDARD_INPUT, read_keys_source, read_source
from services.cli.state import StateDirectory

_SETTING = "TIERMESH_EDGE_RECEIPT_KEYS"
_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def receipt() -> None:
    """Check signed receipts, and manage the keys that sign."""


@receipt.command()
@click.argument("file")
@click.option(
    "--keys",
    help="The key set of the service: a file, or a URL that ends in /.well-known/jwks.json. Default: the local mesh's.",
)
@click.option("--request", help="A file with the body of the request that the receipt should be for.")
@click.option("--answer", help="A file with the body of the response that the receipt should be for.")
@state_directory_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    *, file: str, keys: str | None, request: str | None, answer: str | None, state_dir: Path, as_json: bool
) -> None:
    """Check whether a receipt is genuine, and show what it says.

    FILE (`-` is the standard input) has the receipt itself, the head of the response (as `curl -D FILE` writes it), or
    the whole stream of events. Exits with status 1 if anything is wrong.
    """
    check_installed()
    from services.cli.receipts.verification import check_receipt, in_one_line

    if [file, keys, request, answer].count(STANDARD_INPUT) > 1:
        raise click.UsageError("Only one of the inputs can be the standard input. Give files for the others.")
    claims = check_receipt(
        read_source(file),
        asyncio.run(read_keys_source(keys or _local_keys(state_dir))),
        request=read_source(request) if request else None,
        answer=read_source(answer) if answer else None,
    )
    text = in_one_line(claims, request=bool(request), answer=bool(answer))
    Printer(as_json=as_json).record(msgspec.to_builtins(claims), text)


@receipt.command("new-key")
@_FILE
def new_key(file: Path) -> None:
    """Add a new key to the key set in FILE.

    The file is created with mode 600 if it does not exist. The first key of a file signs. A later one is only
    published, until you retire the keys before it.
    """
    keys = add_key(file)
    added = keys.keys[-1]
    if added is keys.signing:
        click.echo(f"Created {file}. Key {added.kid} signs. Give the content to every edge as {_SETTING}.")
    else:
        click.echo(
            f"Added key {added.kid} to {file}. Give the content to every edge as {_SETTING}, and later let it sign "
            f"with `tiermesh receipt retire-key {file}`."
        )


@receipt.command("retire-key")
@_FILE
def retire(file: Path) -> None:
    """Let the next key of the key set in FILE sign.

    The private part of the key that signs now is deleted. Its public part stays, because receipts that the key has
    signed are still checked with it.
    """
    signing = retire_key(file).signing
    if signing is not None:
        click.echo(f"Key {signing.kid} signs now. Give the content of {file} to every edge as {_SETTING}.")


def _local_keys(state_dir: Path) -> str:
    mesh = StateDirectory(state_dir).load_mesh()
    if mesh is None:
        raise click.UsageError(
            "No mesh runs here. Give the key set of the service with --keys, such as "
            f"https://api.example.org{KEYS_PATH}."
        )
    return mesh.base_url + KEYS_PATH
