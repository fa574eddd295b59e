"""Checks signed receipts, with a library of its own that knows nothing of how they were signed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.common.receipts import base64url
from services.common.receipts.claims import ALGORITHM, TOKEN_TYPE, ReceiptClaims

# Far more than any receipt has.
MOST_CHARACTERS = 8 * 1024

PublicKeys = Mapping[str, Ed25519PublicKey]


class ReceiptError(ValueError):
    """A receipt, or a set of keys for it, is not what it should be; the message is a sentence that says why."""


def read_public_keys(text: str | bytes) -> PublicKeys:
    """Returns the Ed25519 keys of a JSON Web Key Set by their `kid`; keys for other purposes are left out."""
    try:
        listed = json.loads(text)["keys"]
        keys = [jwt.PyJWK(key) for key in listed if key.get("crv") == "Ed25519"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, jwt.PyJWTError):
        raise ReceiptError("The keys are no JSON Web Key Set. Give the one that the API publishes.") from None
    return {key.key_id: _public(key.key) for key in keys if key.key_id}


def verify(token: str, keys: PublicKeys) -> ReceiptClaims:
    """Returns what a genuine receipt says; raises ReceiptError for anything else.

    The age of a receipt does not matter.
    """
    header = _header(token)
    algorithm = header.get("alg")
    if algorithm != ALGORITHM:
        raise ReceiptError(f"The receipt is not genuine: its algorithm is {algorithm!r:.40}, not {ALGORITHM}.")
    if header.get("typ") != TOKEN_TYPE:
        raise ReceiptError(f"This is no receipt: its type is {header.get('typ')!r:.60}, not {TOKEN_TYPE}.")
    kid = header.get("kid")
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise ReceiptError(f"The key that signed the receipt, {kid!r:.60}, is not among the keys of the service.")
    try:
        content = jwt.PyJWS().decode(token, key, algorithms=[ALGORITHM])
    except jwt.PyJWTError:
        raise ReceiptError("The receipt is not genuine: its signature is wrong, so somebody has changed it.") from None
    try:
        return msgspec.json.decode(content, type=ReceiptClaims)
    except msgspec.DecodeError as error:
        raise ReceiptError(f"The receipt is genuine, but cannot be read: {error}.") from None


def _header(token: str) -> Mapping[str, Any]:
    """Returns the header of what looks like a token."""
    content: object = None
    if len(token) <= MOST_CHARACTERS:
        with suppress(ValueError, RecursionError):
            # Several texts may stand for the same signature, and only one of them is the receipt.
            header, _, _ = [base64url.decode(part) for part in token.split(".")]
            content = json.loads(header)
    if not isinstance(content, dict):
        raise ReceiptError("This is no receipt. A receipt has three parts of base64url with dots between them.")
    return content


def _public(key: Any) -> Ed25519PublicKey:
    """Returns the public part of a key, of which somebody may have given the private one."""
    if isinstance(key, Ed25519PrivateKey):
        return key.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise ReceiptError("The keys are no JSON Web Key Set. Give the one that the API publishes.")
    return key
