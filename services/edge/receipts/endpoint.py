"""GET /.well-known/jwks.json: the keys that receipts are checked with (RFC 7517)."""

from __future__ import annotations

import hashlib

from aiohttp import ETag, web
from msgspec import Struct

from services.common.errors import Code, MeshError
from services.edge.receipts.issuing import ReceiptIssuer

# Whoever checks receipts may keep the keys for so long; a new key is published earlier than it signs.
_MAX_AGE_SECONDS = 300


class PublicKey(Struct, frozen=True):
    """An Ed25519 key (RFC 8037)."""

    kty: str
    crv: str
    x: str
    # The name of the key in the head of a receipt.
    kid: str
    use: str
    alg: str


class KeySet(Struct, frozen=True):
    """All keys that have signed receipts or will."""

    keys: list[PublicKey]


EXAMPLE = KeySet(
    [
        PublicKey(
            kty="OKP",
            crv="Ed25519",
            x="11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            kid="kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            use="sig",
            alg="EdDSA",
        )
    ]
)


class ReceiptKeys:
    """Serves the keys; without `issuer` there are none."""

    def __init__(self, issuer: ReceiptIssuer | None) -> None:
        self._key_set = issuer.key_set if issuer else b""
        self._tag = ETag(hashlib.sha256(self._key_set).hexdigest()[:32])

    async def serve(self, request: web.Request) -> web.Response:
        """Answers the request; raises MeshError NOT_FOUND if this service signs no receipts."""
        if not self._key_set:
            message = "This service does not sign receipts, so it has no keys to check them with."
            raise MeshError(Code.NOT_FOUND, message)
        known = request.if_none_match or ()
        if any(tag.value in {self._tag.value, "*"} for tag in known):
            response = web.Response(status=304)
        else:
            response = web.Response(body=self._key_set, content_type="application/json")
        response.headers["Cache-Control"] = f"public, max-age={_MAX_AGE_SECONDS}"
        response.etag = self._tag
        return response
