"""Has a facilitator send payments to the chain: another service, by the HTTP interface of x402 version 2.

What it says is not believed: a payment is settled when our own node shows the transfer, and it has failed when its time
is over without one. A payment is written down as sent before the facilitator hears of it.

https://github.com/coinbase/x402/blob/main/specs/x402-specification-v2.md
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import aiohttp
import msgspec

from services.common.errors import Code, MeshError
from services.common.ethereum.addresses import with_checksum
from services.common.retry.outage import Outage
from services.common.retry.pause import pause
from services.common.telemetry.logs import get_logger
from services.payments.chain.json_rpc import RpcError
from services.payments.chain.settlement_node import SettlementNode
from services.payments.chain.transactions import Signed
from services.payments.x402.authorization import Authorization, not_paid
from services.payments.x402.books import Books
from tiermesh.billing.v1 import wallet_payments_pb2 as proto

log = get_logger()
T = TypeVar("T", bound=msgspec.Struct)

# What stands for the relayer and its transaction, which are the facilitator's.
NOBODY, NO_TRANSACTION = "0x" + 40 * "0", "0x"
# How often another process may be faster with a number.
_ATTEMPTS = 10
# By how much clocks and blocks may disagree about the time, and how often a payment is looked for that nobody waits
# for, in seconds.
_SKEW_SECONDS, _RARE_SECONDS = 60.0, 5.0
_MOST_BYTES = 1 << 20


class FacilitatorTerms(NamedTuple):
    """What payments are for, beside their amounts."""

    chain_id: int
    token: str
    token_name: str
    token_version: str
    pay_to: str
    max_timeout_seconds: int

    def requirements(self, atomic: int) -> dict[str, Any]:
        """Returns the terms for an amount, as the protocol writes them."""
        return {
            "scheme": "exact",
            "network": f"eip155:{self.chain_id}",
            "asset": self.token,
            "amount": str(atomic),
            "payTo": self.pay_to,
            "maxTimeoutSeconds": self.max_timeout_seconds,
            "extra": {"name": self.token_name, "version": self.token_version},
        }


class _Verified(msgspec.Struct, rename="camel"):
    is_valid: bool
    invalid_reason: str | None = None


class _Settled(msgspec.Struct, rename="camel"):
    success: bool
    error_reason: str | None = None


class FacilitatorClient:
    """One facilitator; `timeout` is that of a request in seconds. Close it at the end."""

    def __init__(self, url: str, authorization: str, timeout: float, terms: FacilitatorTerms) -> None:
        """`authorization` is the header of this name, which is a secret; empty for none."""
        self._url = url.rstrip("/")
        self._headers = {"Authorization": authorization} if authorization else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._terms = terms
        self._session: aiohttp.ClientSession | None = None

    async def verify(self, given: Authorization) -> None:
        """Raises MeshError INSUFFICIENT_CREDITS if the facilitator would not settle it, or UNAVAILABLE."""
        found = await self._post("verify", given, _Verified)
        if not found.is_valid:
            raise _refused(found.invalid_reason)

    async def settle(self, given: Authorization) -> None:
        """Returns once the facilitator says that the tokens have moved; raises as `verify` does."""
        found = await self._post("settle", given, _Settled)
        if not found.success:
            raise _refused(found.error_reason)

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, method: str, given: Authorization, kind: type[T]) -> T:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        requirements = self._terms.requirements(given.atomic)
        payment = {"x402Version": 2, "accepted": requirements, "payload": _payload(given)}
        body = {"x402Version": 2, "paymentPayload": payment, "paymentRequirements": requirements}
        try:
            async with self._session.post(f"{self._url}/{method}", json=body) as response:
                # Some tell a refusal with a status of its own.
                return msgspec.json.decode(await response.content.read(_MOST_BYTES), type=kind)
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            log.warning("facilitator_away", method=method, error=type(error).__name__)
            message = "Payments are not possible now: the facilitator cannot be reached. Try again shortly."
            raise MeshError(Code.UNAVAILABLE, message, retry_after=5.0) from error


class Facilitator:
    """Takes the place of the relayer. `poll_seconds` is how often it looks for a transfer; `clock` is Unix time."""

    def __init__(
        self,
        client: FacilitatorClient,
        node: SettlementNode,
        books: Books,
        clock: Callable[[], float],
        *,
        poll_seconds: float,
    ) -> None:
        self._client = client
        self._node = node
        self._books = books
        self._clock = clock
        self._poll_seconds = poll_seconds
        # What the facilitator is to be given, by request. A signature is kept nowhere else.
        self._given: dict[str, Authorization] = {}
        self._outage = Outage()

    async def write_down(self, request_id: str, authorization: Authorization) -> Signed:
        """Has billing note that a payment is on its way; raises MeshError."""
        noted = Signed(NO_TRANSACTION, authorization.nonce)
        for _ in range(_ATTEMPTS):
            try:
                await self._books.write_down(request_id, await self._books.next_nonce(), noted)
            except MeshError as error:
                if error.code is Code.CONFLICT and error.param == "relayer_nonce":
                    continue
                raise
            self._given[request_id] = authorization
            return noted
        raise MeshError(Code.UNAVAILABLE, "Too many payments at once. Try again shortly.", retry_after=1.0)

    async def follow(self, payment: proto.WalletPayment, raw: str, tx_hash: str) -> str:
        """Gives a payment to the facilitator and waits for its transfer; returns the transaction.

        Raises MeshError INSUFFICIENT_CREDITS if the facilitator refuses it, or its time is over. One that was refused
        is looked for until then: the facilitator may be wrong.
        """
        del raw, tx_hash
        given = self._given.pop(payment.request_id, None)
        refusal = await self._ask(given) if given is not None else None
        while True:
            try:
                if (transaction := await self._settled(payment)) is not None:
                    self._outage.end()
                    return transaction
                if refusal is not None:
                    raise refusal
            except (RpcError, MeshError) as error:
                if isinstance(error, MeshError) and error.code not in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}:
                    raise
                if self._outage.begin(str(error)):
                    log.warning("settlement_waits", request_id=payment.request_id, reason=str(error))
            await pause(self._poll_seconds if given is not None else _RARE_SECONDS)

    async def _ask(self, given: Authorization) -> MeshError | None:
        """Returns why the facilitator refuses; None also if nobody knows what it does."""
        try:
            await self._client.settle(given)
        except MeshError as error:
            return error if error.code is Code.INSUFFICIENT_CREDITS else None
        return None

    async def _settled(self, payment: proto.WalletPayment) -> str | None:
        terms = payment.payer, payment.nonce, payment.pay_to, payment.atomic
        over = payment.valid_before + _SKEW_SECONDS < self._clock()
        transfer = await self._node.transfer_by(*terms, payment.from_block)
        if transfer is not None:
            await self._books.settle(payment.request_id, transfer)
            return transfer.tx_hash
        if over:
            await self._books.end(payment.request_id, proto.WALLET_PAYMENT_STATE_FAILED)
            raise not_paid("was not settled in its time. Sign a new one")
        return None


def _payload(given: Authorization) -> dict[str, Any]:
    authorization = {
        # Some facilitators refuse addresses without their checksums.
        "from": with_checksum(given.payer),
        "to": with_checksum(given.pay_to),
        "value": str(given.atomic),
        "validAfter": str(given.valid_after),
        "validBefore": str(given.valid_before),
        "nonce": given.nonce,
    }
    return {"signature": "0x" + given.signature.hex(), "authorization": authorization}


def _refused(reason: str | None) -> MeshError:
    # It is somebody else's text, and perhaps long.
    return not_paid(f"is refused by the facilitator ({(reason or 'it gave no reason')[:100]}). Sign a new one")
