"""Pays for one HTTP request by the x402 protocol (version 2, scheme "exact"): signs what the terms ask for."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple

import msgspec

from services.cli.chain.authorization import Domain, Transfer, sign
from services.cli.chain.wallet import SigningKey
from services.cli.errors import CliError

_REQUIRED, _SIGNATURE, _RESPONSE = "PAYMENT-REQUIRED", "PAYMENT-SIGNATURE", "PAYMENT-RESPONSE"
_ANSWER_SECONDS = 600.0


class _Extra(msgspec.Struct, frozen=True):
    name: str
    version: str


class Terms(msgspec.Struct, frozen=True, rename="camel"):
    """What a service asks for a request."""

    scheme: str
    network: str
    asset: str
    amount: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}$")]
    pay_to: Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}$")]
    max_timeout_seconds: int
    extra: _Extra

    @property
    def atomic(self) -> int:
        """The price in smallest units."""
        return int(self.amount)


class _Required(msgspec.Struct, frozen=True):
    accepts: list[Terms]


class Answer(NamedTuple):
    """What came back; headers are by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def transaction(self) -> str:
        """The transaction that has paid; empty if the balance of the wallet has."""
        told = json.loads(base64.b64decode(self.headers.get(_RESPONSE.lower(), "e30=")))
        return str(told.get("transaction", ""))

    @property
    def failure(self) -> str:
        """What an answer that is no success says about it."""
        try:
            return str(json.loads(self.body)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            return f"The service answered with status {self.status}."


def ask(url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
    """Sends a request; raises CliError if the service cannot be reached."""
    # Most commands ask nobody by HTTP, and importing it takes memory.
    import urllib.error
    import urllib.request

    request = urllib.request.Request(  # noqa: S310 - the URL is that of a mesh, which the user names
        url, json.dumps(body).encode(), {"content-type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as response:  # noqa: S310 - as above
            return _answer(response.status, response)
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error)
    except OSError as error:
        raise CliError(f"{url} cannot be reached ({type(error).__name__}). Check that the mesh runs.") from None


def read_terms(answer: Answer, chain_id: int, token: str) -> Terms:
    """Returns the terms for a token on a chain; raises CliError if the answer has none."""
    if answer.status != HTTPStatus.PAYMENT_REQUIRED or _REQUIRED.lower() not in answer.headers:
        raise CliError(answer.failure)
    try:
        required = msgspec.json.decode(base64.b64decode(answer.headers[_REQUIRED.lower()]), type=_Required)
    except ValueError as error:
        raise CliError("The service asks for a payment that is none of x402 version 2.") from error
    for terms in required.accepts:
        if (terms.scheme, terms.network, terms.asset.lower()) == ("exact", f"eip155:{chain_id}", token.lower()):
            return terms
    raise CliError(f"The service does not take the token {token} on the chain {chain_id}.")


def payment_header(terms: Terms, chain_id: int, key: SigningKey) -> dict[str, str]:
    """Returns the header that pays by these terms."""
    transfer = Transfer(
        sender=key.address,
        receiver=terms.pay_to,
        atomic=terms.atomic,
        valid_before=int(time.time()) + terms.max_timeout_seconds,
        nonce=f"0x{secrets.token_hex(32)}",
    )
    domain = Domain(chain_id=chain_id, token=terms.asset, name=terms.extra.name, version=terms.extra.version)
    v, r, s = sign(domain, transfer, key)
    authorization = {
        "from": transfer.sender,
        "to": transfer.receiver,
        "value": str(transfer.atomic),
        "validAfter": "0",
        "validBefore": str(transfer.valid_before),
        "nonce": transfer.nonce,
    }
    signature = f"{r}{s[2:]}{v:02x}"
    payment = {
        "x402Version": 2,
        "accepted": msgspec.to_builtins(terms),
        "payload": {"signature": signature, "authorization": authorization},
    }
    return {_SIGNATURE: base64.b64encode(json.dumps(payment).encode()).decode()}


def _answer(status: int, response: Any) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status, headers, response.read())
