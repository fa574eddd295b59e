"""What a wallet is asked to pay, as the x402 protocol writes it: version 2 in a header, version 1 in the body.

https://github.com/coinbase/x402/tree/main/specs
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from services.common.errors import Code
from services.edge.http.errors import Refusal, RefusedError, Shape

# The smallest units of a token with six decimals in one credit, which is one US cent.
CREDIT_ATOMIC = 10_000
REQUIRED_HEADER = "PAYMENT-REQUIRED"
RESPONSE_HEADER = "PAYMENT-RESPONSE"
# What version 1 calls the chains that it knows.
_NAMES = {
    8453: "base",
    84532: "base-sepolia",
    137: "polygon",
    80002: "polygon-amoy",
    43114: "avalanche",
    43113: "avalanche-fuji",
}


class Terms(Struct, frozen=True):
    """In which token and to whom wallets pay."""

    chain_id: int
    token: str
    token_name: str
    token_version: str
    pay_to: str
    max_timeout_seconds: int

    @property
    def network(self) -> str:
        """The chain, as version 2 names it (CAIP-2)."""
        return f"eip155:{self.chain_id}"

    @property
    def old_network(self) -> str | None:
        """The chain, as version 1 names it; None if it does not know it."""
        return _NAMES.get(self.chain_id)

    def wallet(self, payer: str) -> str:
        """Returns the account of a wallet."""
        return f"wallet:{self.network}:{payer.lower()}"

    def requirements(self, atomic: int) -> dict[str, Any]:
        """Returns the terms for an amount, as version 2 writes them."""
        return {
            "scheme": "exact",
            "network": self.network,
            "asset": self.token,
            "amount": str(atomic),
            "payTo": self.pay_to,
            "maxTimeoutSeconds": self.max_timeout_seconds,
            "extra": {"name": self.token_name, "version": self.token_version},
        }

    def old_requirements(self, atomic: int, resource: Resource) -> list[dict[str, Any]]:
        """Returns the terms as version 1 writes them; none for a chain that it does not know."""
        if self.old_network is None:
            return []
        old = self.requirements(atomic)
        del old["amount"]
        old |= {"network": self.old_network, "maxAmountRequired": str(atomic), "resource": resource.url}
        return [old | {"description": resource.description, "mimeType": resource.mime_type}]


class Resource(Struct, frozen=True, rename={"mime_type": "mimeType"}):
    """What is paid for."""

    url: str
    description: str
    mime_type: str = "application/json"


def payment_required(
    terms: Terms,
    atomic: int,
    resource: Resource,
    message: str,
    code: str,
    headers: Mapping[str, str] | None = None,
) -> RefusedError:
    """Returns the 402 that asks for an amount: `message` and `code` say why, in the format of the endpoint."""
    wanted = {
        "x402Version": 2,
        "error": message,
        "resource": msgspec.to_builtins(resource),
        "accepts": [terms.requirements(atomic)],
    }
    return RefusedError(
        Code.INSUFFICIENT_CREDITS,
        Refusal(
            # The type of all that OpenAI's clients do not repeat.
            Shape(402, "invalid_request_error", code),
            message,
            headers={REQUIRED_HEADER: encode_header(wanted), "x-should-retry": "false", **(headers or {})},
            members={"x402Version": 1, "accepts": terms.old_requirements(atomic, resource)},
        ),
    )


def payment_response(terms: Terms, payer: str, transaction: str, error: str = "") -> str:
    """Returns what the header PAYMENT-RESPONSE says of a payment, which has failed if there is an error."""
    told = {"success": not error, "transaction": transaction, "network": terms.network, "payer": payer}
    return encode_header(told | ({"errorReason": error} if error else {}))


def encode_header(value: Mapping[str, Any]) -> str:
    """Returns a value as headers of the protocol hold it."""
    return base64.b64encode(msgspec.json.encode(value)).decode()
