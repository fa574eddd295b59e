"""The chain of a local mesh: what is kept of it, and whether it goes on or starts over.

Anvil writes the chain to a file when it ends in good order, and reads it at the next start. One that was killed has
written nothing. Its blocks are gone, but billing has read them, and would rightly say that history has changed. The
next chain therefore has another number: for billing, it is another chain.
"""

from __future__ import annotations

import importlib.util
import json
import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from services.cli.chain.program import find_anvil
from services.cli.chain.wallet import Wallet, read_key
from services.cli.errors import CliError
from services.cli.state import read_json, write_private, write_private_json
from services.common.extras import how_to_install

# What the numbers of local chains begin with. No public chain has such a number, so that nothing that is signed for a
# local chain is valid elsewhere.
_NUMBERS = range(313_370_000, 314_370_000)
_PACKAGES = ("bip32", "coincurve", "eth_hash")
_WALLET_SECONDS = 20.0
_POLL_SECONDS = 0.05


class _Record(msgspec.Struct, frozen=True):
    """What is known of the last start."""

    chain_id: int


@dataclass(frozen=True)
class ChainFiles:
    """Where everything of a local chain is."""

    directory: Path

    @property
    def mnemonic(self) -> Path:
        """The mnemonic of the deposit addresses, for the operator's commands alone."""
        return self.directory / "mnemonic"

    @property
    def treasury_key(self) -> Path:
        """The private key of the address that wallets pay for requests, for the operator's commands alone."""
        return self.directory / "treasury-key"

    @property
    def relayer_key(self) -> Path:
        """The private key by which payments pays gas."""
        return self.directory / "relayer-key"

    @property
    def wallet_key(self) -> Path:
        """The private key of a wallet with test tokens, for the command that pays for a request."""
        return self.directory / "wallet-key"

    @property
    def record(self) -> Path:
        """What is known of the last start."""
        return self.directory / "chain.json"

    @property
    def saved(self) -> Path:
        """The chain as anvil wrote it when it ended in good order; absent while it runs."""
        return self.directory / "saved.json"

    @property
    def loaded(self) -> Path:
        """The chain as anvil reads it when it starts."""
        return self.directory / "loaded.json"


@dataclass(frozen=True, kw_only=True)
class LocalChain:
    """The chain of one start."""

    program: Path
    chain_id: int
    # The extended public key that payments derives addresses from.
    xpub: str = field(repr=False)
    # Whom wallets pay for requests, and the key that pays the gas for it.
    treasury: str
    relayer_key: str = field(repr=False)
    files: ChainFiles
    # Whether the chain of the last start goes on.
    goes_on: bool

    def begin(self) -> None:
        """Makes the files ready for the start; raises OSError."""
        if self.goes_on:
            self.files.saved.replace(self.files.loaded)
        else:
            self.files.saved.unlink(missing_ok=True)
            self.files.loaded.unlink(missing_ok=True)
        write_private_json(self.files.record, _Record(self.chain_id))

    def command(self, host: str, port: str) -> tuple[str, ...]:
        """Returns the command line of anvil. Each transaction is a block, and each block is final at once."""
        options = {
            "--host": host,
            "--port": port,
            "--chain-id": str(self.chain_id),
            "--slots-in-an-epoch": "0",
            "--dump-state": str(self.files.saved),
            **({"--load-state": str(self.files.loaded)} if self.goes_on else {}),
        }
        # A web page that a browser on this machine shows has no business here.
        words = (word for option in options.items() for word in option)
        return (str(self.program), "--silent", "--no-cors", *words)


def prepare_chain(directory: Path, say: Callable[[str], None]) -> LocalChain:
    """Returns the chain of a start, whose directory is locked by this process; raises CliError and OSError."""
    if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
        raise CliError(f"--chain needs further Python packages: {how_to_install('payments')}")
    directory.mkdir(mode=0o700, exist_ok=True)
    files = ChainFiles(directory)
    program = find_anvil(directory / "anvil", say)
    if not files.mnemonic.exists():
        write_private(files.mnemonic, f"{_new_mnemonic(program, directory)}\n".encode())
    xpub = Wallet(files.mnemonic.read_text(encoding="utf-8")).xpub
    record = _read_record(files.record)
    goes_on = record is not None and _is_whole(files.saved)
    chain_id = record.chain_id if record is not None and goes_on else secrets.choice(_NUMBERS)
    if record is not None and not goes_on:
        say(
            f"the local chain {record.chain_id} was not saved, because the last start did not end in good order; "
            f"chain {chain_id} begins, with no tokens and with new deposit addresses; credits stay"
        )
    return LocalChain(
        program=program,
        chain_id=chain_id,
        xpub=xpub,
        treasury=own_key(files.treasury_key).address,
        relayer_key=own_key(files.relayer_key).hexadecimal,
        files=files,
        goes_on=goes_on,
    )


class OwnKey(NamedTuple):
    """A private key of a file, with 0x, and its address."""

    hexadecimal: str
    address: str


def own_key(path: Path) -> OwnKey:
    """Returns the private key of a file, which is drawn if there is none; raises CliError and OSError."""
    if not path.exists():
        write_private(path, f"0x{secrets.token_hex(32)}\n".encode())
    text = path.read_text(encoding="utf-8").strip()
    return OwnKey(text, read_key(text).address)


def _read_record(path: Path) -> _Record | None:
    try:
        return read_json(path, _Record)
    except ValueError as error:
        raise CliError(f"{error}. Delete it, and the next start begins a new chain.") from error


def _is_whole(saved: Path) -> bool:
    """Tells whether anvil has written all of its file."""
    try:
        return isinstance(json.loads(saved.read_bytes()), dict)
    except (FileNotFoundError, ValueError):
        return False


def _new_mnemonic(program: Path, directory: Path) -> str:
    """Has a chain that nobody uses draw a mnemonic, and ends it; raises CliError."""
    told = directory / "new-wallet.json"
    told.unlink(missing_ok=True)
    command = [str(program), "--host", "127.0.0.1", "--port", "0", "--silent", "--mnemonic-random", "12"]
    process = subprocess.Popen(  # noqa: S603 - the program was found by us
        [*command, "--config-out", str(told)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _WALLET_SECONDS
        while (found := _mnemonic_in(told)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise CliError(f"{program} does not draw a mnemonic. Install another release of anvil.")
            time.sleep(_POLL_SECONDS)
        return found
    finally:
        process.kill()
        process.wait()
        told.unlink(missing_ok=True)


def _mnemonic_in(told: Path) -> str | None:
    try:
        return str(json.loads(told.read_bytes())["wallet"]["mnemonic"])
    except (FileNotFoundError, ValueError, KeyError):
        # It is being written.
        return None
