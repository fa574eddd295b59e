"""The keys that sign receipts, as a JSON Web Key Set (RFC 7517) of Ed25519 keys (RFC 8037).

The first key with a private part signs. The others are published, so that receipts that an earlier key has signed can
still be checked, and so that the next key is known everywhere before it signs.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from services.common.receipts import base64url
from services.common.receipts.claims import ALGORITHM


class SigningKeysError(ValueError):
    """A set of keys cannot be used; the message says why, without showing any key."""


class SigningKey(Struct, frozen=True, kw_only=True):
    """One key."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    # The public part.
    x: str
    # The private part; a key without it only checks.
    d: str | UnsetType = UNSET
    # The key's thumbprint (RFC 7638), so that no two keys have the same name.
    kid: str
    use: Literal["sig"] = "sig"
    alg: Literal["EdDSA"] = ALGORITHM

    @property
    def public(self) -> SigningKey:
        """The key without its private part."""
        return replace(self, d=UNSET)

    def private_key(self) -> Ed25519PrivateKey:
        """Returns the private part; raises SigningKeysError if there is none or it belongs to another key."""
        try:
            private = Ed25519PrivateKey.from_private_bytes(base64url.decode("" if self.d is UNSET else self.d))
        except ValueError:
            raise SigningKeysError(f"the private part of key {self.kid[:50]} is no Ed25519 key") from None
        if base64url.encode(private.public_key().public_bytes_raw()).decode() != self.x:
            raise SigningKeysError(f"the two parts of key {self.kid[:50]} do not belong together")
        return private


class SigningKeys(Struct, frozen=True):
    """All keys of a service, in the order in which they sign."""

    keys: list[SigningKey]

    @property
    def signing(self) -> SigningKey | None:
        """The key that signs; None if every private part is gone."""
        return next((key for key in self.keys if key.d), None)

    @property
    def public(self) -> SigningKeys:
        """What everybody may know."""
        return SigningKeys([key.public for key in self.keys])

    def with_next(self) -> SigningKeys:
        """Returns the keys with a new one, which signs once those before it are retired."""
        return SigningKeys([*self.keys, new_key()])

    def retired(self) -> SigningKeys:
        """Returns the keys without the private part of the one that signs; raises SigningKeysError without a next."""
        able = [key for key in self.keys if key.d]
        if len(able) < 2:
            raise SigningKeysError("no next key could sign")
        return SigningKeys([key.public if key is able[0] else key for key in self.keys])


def new_key() -> SigningKey:
    """Returns a new key out of the system's random numbers."""
    private = Ed25519PrivateKey.generate()
    x = base64url.encode(private.public_key().public_bytes_raw()).decode()
    return SigningKey(x=x, d=base64url.encode(private.private_bytes_raw()).decode(), kid=thumbprint(x))


def thumbprint(x: str) -> str:
    """Returns the thumbprint of the key with this public part (RFC 7638; RFC 8037, appendix A.3)."""
    members = b'{"crv":"Ed25519","kty":"OKP","x":"%b"}' % x.encode()
    return base64url.encode(hashlib.sha256(members).digest()).decode()


def read_signing_keys(text: str | bytes) -> SigningKeys:
    """Reads a set of keys and checks each; raises SigningKeysError."""
    try:
        found = msgspec.json.decode(text, type=SigningKeys)
    except (msgspec.DecodeError, UnicodeError):
        # What is wrong may be a secret.
        raise SigningKeysError("the keys must be a JSON Web Key Set of Ed25519 keys with 'kid' and 'x'") from None
    if len({key.kid for key in found.keys}) < len(found.keys):
        raise SigningKeysError("two keys have the same 'kid'")
    for key in found.keys:
        if key.d:
            key.private_key()
        else:
            _check_public(key)
    return found


def _check_public(key: SigningKey) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(base64url.decode(key.x))
    except ValueError:
        raise SigningKeysError(f"key {key.kid[:50]} is no Ed25519 key") from None
