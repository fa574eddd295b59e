"""Signs receipts as compact JSON Web Signatures (RFC 7515)."""

from __future__ import annotations

import msgspec

from services.common.receipts import base64url
from services.common.receipts.claims import ALGORITHM, TOKEN_TYPE, ReceiptClaims
from services.common.receipts.signing_keys import SigningKeys, SigningKeysError


class ReceiptSigner:
    """Signs with the first key that can; raises SigningKeysError if none can."""

    def __init__(self, keys: SigningKeys) -> None:
        key = keys.signing
        if key is None:
            raise SigningKeysError("none of the keys has a private part 'd', so that none can sign")
        # What everybody may know of the keys, as JSON.
        self.key_set = msgspec.json.encode(keys.public)
        self._sign = key.private_key().sign
        # It is the same in every token.
        header = msgspec.json.encode({"alg": ALGORITHM, "kid": key.kid, "typ": TOKEN_TYPE})
        self._head = base64url.encode(header) + b"."

    def sign(self, claims: ReceiptClaims) -> str:
        """Returns the token; every paid answer costs one, so it is put together without a library's checks."""
        signed = self._head + base64url.encode(msgspec.json.encode(claims))
        return (signed + b"." + base64url.encode(self._sign(signed))).decode()
