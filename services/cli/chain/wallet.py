"""The wallet of deposit addresses: a mnemonic, and the keys at m/44'/60'/0'/0 (BIP-39, BIP-32, BIP-44).

It belongs to the operator. No process of the mesh reads a mnemonic.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any

from services.cli.errors import CliError
from services.common.ethereum.addresses import address_of, with_checksum
from services.common.extras import how_to_install

_PATH = "m/44h/60h/0h/0"
_ROUNDS = 2048
_KEY_BYTES = 32


class SigningKey:
    """One private key; it is in no repr."""

    def __init__(self, secret: bytes) -> None:
        """Raises CliError for what is no key, and if the packages for it are missing."""
        try:
            # Most commands need none of it.
            import coincurve
        except ImportError as error:
            raise CliError(f"Signing needs further Python packages: {how_to_install('payments')}") from error
        try:
            self._key: Any = coincurve.PrivateKey(secret)
        except ValueError:
            raise CliError(f"A private key has {_KEY_BYTES} bytes, and is not 0.") from None

    @property
    def address(self) -> str:
        """The address of the key, with its checksum."""
        return with_checksum(address_of(self._key.public_key.format(compressed=False)))

    def sign(self, digest: bytes) -> tuple[int, int, int]:
        """Signs a hash; returns the parity of the point (0 or 1), r and s."""
        signature: bytes = self._key.sign_recoverable(digest, hasher=None)
        return signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")


def read_key(text: str) -> SigningKey:
    """Returns the key that a file of hexadecimal digits holds; raises CliError without the text."""
    try:
        return SigningKey(bytes.fromhex(text.strip().removeprefix("0x")))
    except ValueError:
        raise CliError("A file with a private key must hold 64 hexadecimal digits, and nothing else.") from None


class Wallet:
    """The keys of one mnemonic. A misspelled word leads to other keys, so compare an address with a known one."""

    def __init__(self, mnemonic: str) -> None:
        """Raises CliError if the packages for it are missing."""
        try:
            from bip32 import BIP32
        except ImportError as error:
            raise CliError(f"A wallet needs further Python packages: {how_to_install('payments')}") from error
        words = " ".join(unicodedata.normalize("NFKD", mnemonic).split())
        seed = hashlib.pbkdf2_hmac("sha512", words.encode(), b"mnemonic", _ROUNDS)
        self._keys: Any = BIP32.from_seed(seed)

    @property
    def xpub(self) -> str:
        """The extended public key that payments derives addresses from."""
        return str(self._keys.get_xpub_from_path(_PATH))

    @property
    def xpub_id(self) -> str:
        """What billing calls this extended public key."""
        return hashlib.sha256(self.xpub.encode()).hexdigest()[:16]

    def key(self, index: int) -> SigningKey:
        """Returns the key of the address at an index."""
        return SigningKey(self._keys.get_privkey_from_path(f"{_PATH}/{index}"))
