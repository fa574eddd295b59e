"""The file of the keys that sign receipts: readable for its owner alone."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from services.cli.errors import CliError
from services.cli.state import StateDirectory, write_private_json
from services.common.extras import how_to_install

if TYPE_CHECKING:
    # Importing it needs the extra.
    from services.common.receipts.signing_keys import SigningKeys


def local_receipt_keys(state: StateDirectory) -> str:
    """Returns the keys of the local mesh as JSON, which the first start makes; raises CliError for a damaged file.

    Without the extra there are none, and the local mesh signs no receipts.
    """
    if find_spec("cryptography") is None:
        return ""
    path = state.receipt_keys
    if not path.exists():
        add_key(path)
    read_keys(path)
    return path.read_text(encoding="ascii")


def add_key(path: Path) -> SigningKeys:
    """Adds a new key behind those of the file, which is made if there is none; raises CliError."""
    check_installed()
    from services.common.receipts.signing_keys import SigningKeys

    keys = (read_keys(path) if path.exists() else SigningKeys([])).with_next()
    _write(path, keys)
    return keys


def retire_key(path: Path) -> SigningKeys:
    """Forgets the private part of the key that signs, so that the next one does; raises CliError if there is none."""
    check_installed()
    from services.common.receipts.signing_keys import SigningKeysError

    try:
        keys = read_keys(path).retired()
    except SigningKeysError as error:
        raise CliError(
            f"Cannot retire the key that signs in {path}: {error}. Add one with `tiermesh receipt new-key {path}`, and "
            "give it to every edge before you retire the one before it."
        ) from None
    _write(path, keys)
    return keys


def read_keys(path: Path) -> SigningKeys:
    """Reads the file and checks the keys in it; raises CliError."""
    check_installed()
    from services.common.receipts.signing_keys import SigningKeysError, read_signing_keys

    try:
        return read_signing_keys(path.read_bytes())
    except OSError as error:
        raise CliError(f"Cannot read {path}: {error.strerror}. Name a file of keys.") from error
    except SigningKeysError as error:
        raise CliError(f"{path} is no file of keys: {error}. Restore the file or name another one.") from None


def check_installed() -> None:
    """Raises CliError unless the packages are there that sign and check receipts."""
    if any(find_spec(package) is None for package in ("cryptography", "jwt")):
        raise CliError(f"Receipts need packages that are missing: {how_to_install('receipts')}.")


def _write(path: Path, keys: SigningKeys) -> None:
    try:
        write_private_json(path, keys)
    except OSError as error:
        raise CliError(f"Cannot write {path}: {error.strerror}. Choose another file.") from error
