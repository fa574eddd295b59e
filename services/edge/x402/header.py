"""Reads the payment that comes with a request: the header PAYMENT-SIGNATURE of version 2, or X-PAYMENT of version 1."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from services.common.errors import Code, MeshError
from services.edge.x402.terms import Terms
from tiermesh.payments.v1 import x402_pb2

HEADERS = ("PAYMENT-SIGNATURE", "X-PAYMENT")
# More than any payment of a key takes, in characters.
_MOST_LENGTH = 8_192

_Address = Annotated[str, Meta(pattern=r"^0x[0-9a-fA-F]{40}$")]
# What is longer is no amount and no time of this world.
_Number = Annotated[str, Meta(pattern=r"^[0-9]{1,18}$")]


class _Authorization(Struct, frozen=True, rename="camel"):
    payer: _Address = field(name="from")
    to: _Address
    value: _Number
    valid_after: _Number
    valid_before: _Number
    nonce: Annotated[str, Meta(pattern=r"^0x[0-9a-fA-F]{64}$")]


class _Payload(Struct, frozen=True):
    # A key signs 65 bytes. Contracts sign more, which is refused with a reason later.
    signature: Annotated[str, Meta(pattern=r"^0x([0-9a-fA-F]{2}){1,2000}$")]
    authorization: _Authorization


class _Header(Struct, frozen=True, rename={"version": "x402Version"}):
    version: int
    payload: _Payload
    # Version 2 repeats the terms, and version 1 names scheme and network.
    accepted: dict[str, Any] | None = None
    scheme: str = ""
    network: str = ""


class Offered(Struct, frozen=True):
    """A payment as it came."""

    authorization: x402_pb2.Authorization
    header: _Header

    def fits(self, terms: Terms, atomic: int) -> bool:
        """Whether it was made for these terms; what is signed is checked in any case."""
        if self.header.version == 2:
            return self.header.accepted == terms.requirements(atomic)
        return (self.header.scheme, self.header.network) == ("exact", terms.old_network)


_DECODER = msgspec.json.Decoder(_Header)


def read_payment(headers: Mapping[str, str]) -> Offered | None:
    """Returns the payment of a request, None without one; raises MeshError INVALID_REQUEST for what is none."""
    name = next((name for name in HEADERS if name in headers), None)
    if name is None:
        return None
    header = _decoded(headers[name])
    if header is None:
        # The details may have the signature.
        message = (
            f"The header {name} is not a payment of x402 version 1 or 2 with the scheme 'exact'. Send what an x402 "
            "client makes of the terms in the header PAYMENT-REQUIRED."
        )
        raise MeshError(Code.INVALID_REQUEST, message, param=name)
    given = header.payload.authorization
    authorization = x402_pb2.Authorization(
        payer=given.payer.lower(),
        pay_to=given.to.lower(),
        atomic=int(given.value),
        valid_after=int(given.valid_after),
        valid_before=int(given.valid_before),
        nonce=given.nonce.lower(),
        signature=bytes.fromhex(header.payload.signature[2:]),
    )
    return Offered(authorization, header)


def _decoded(text: str) -> _Header | None:
    if len(text) > _MOST_LENGTH:
        return None
    try:
        header = _DECODER.decode(base64.b64decode(text, validate=True))
    except (msgspec.MsgspecError, ValueError):
        return None
    return header if header.version in {1, 2} else None
