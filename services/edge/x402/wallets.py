"""Serves requests that wallets pay for: says what they cost, and takes what comes with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.http.attempt_limits import AttemptLimits
from services.edge.authentication import NO_KEY, Principal
from services.edge.http.errors import refused
from services.edge.paid.hold import BillingClient, Hold
from services.edge.paid.path import Order
from services.edge.x402.client import PaymentsClient
from services.edge.x402.discovery import Discovery
from services.edge.x402.header import Offered, read_payment
from services.edge.x402.hold import WalletHold
from services.edge.x402.terms import (
    CREDIT_ATOMIC,
    RESPONSE_HEADER,
    Resource,
    payment_required,
    payment_response,
)
from tiermesh.billing.v1 import billing_pb2
from tiermesh.payments.v1 import x402_pb2

# Who sends a request without a key, before it has paid.
NOBODY = Principal(key_id="", account_id="")
# What clients send that must have a key and have none.
_NO_KEYS = frozenset({"", "x402"})
# A request that has paid, and the one before it that asked for its price.
_ATTEMPTS = 2
_HOW = "Pay by the terms in the header PAYMENT-REQUIRED (x402)"


class Wallets:
    """The edge's side of x402. `address` tells who sends a request, for the limit of those that do not pay."""

    def __init__(
        self,
        client: PaymentsClient,
        billing: BillingClient,
        limits: AttemptLimits,
        address: Callable[[web.Request], str],
        discovery: Discovery,
    ) -> None:
        self.discovery = discovery
        self.address = address
        self._client = client
        self._billing = billing
        self._limits = limits

    def keyless(self, request: web.Request) -> Principal | None:
        """Returns who sends a request without a key; None for one with a key.

        Raises MeshError RATE_LIMITED if its address has sent too many that did not pay. Whether this one pays is known
        when its tokens have moved, so it counts until then.
        """
        if not _lacks_key(request.headers):
            return None
        self._limits.count(self.address(request))
        return NOBODY

    def accept(self, order: Order) -> Order:
        """Returns the order with the payment that came with it, if any.

        Raises RefusedError with the terms if nobody pays for it, or INVALID_REQUEST for what is no payment.
        """
        offered = read_payment(order.request.headers)
        nobody = order.principal is NOBODY
        if offered is None and not nobody:
            return order
        if nobody and not order.model.price:
            # What costs nothing cannot be paid for.
            raise MeshError(Code.UNAUTHENTICATED, NO_KEY)
        if offered is None:
            message = (
                f"This request costs {_credits(order)} credits, and no API key was sent. {_HOW}, or send an API key."
            )
            raise self._required(order, message, "payment_required")
        if not offered.fits(self._client.terms, _atomic(order)):
            raise self._invalid(order, f"The payment is for other terms than these. {_HOW}.")
        wallet = Principal(key_id="", account_id=self._client.terms.wallet(offered.authorization.payer))
        payment = _WalletPayment(self, offered, attempts=_ATTEMPTS if nobody else 0)
        return msgspec.structs.replace(order, principal=wallet, payment=payment)

    def offer(self, order: Order, refusal: MeshError) -> MeshError:
        """Returns a refusal for want of credits, with the terms by which a wallet can pay."""
        shape = refused(refusal).shape
        try:
            return self._required(order, f"{refusal.message} {_HOW}, or do that.", shape.code or "")
        except MeshError:
            # Payments is away: the refusal stands as it is.
            return refusal

    async def drain(self, seconds: float) -> None:
        """Waits for what nobody else waits for, at most `seconds`."""
        await self._client.drain(seconds)

    async def claim(self, order: Order, offered: Offered, attempts: int, idempotency_key: str) -> WalletHold:
        """Takes a payment for its order, which makes good so many attempts of its address once it has paid."""
        authorization, request_id = offered.authorization, order.context.request_id
        asked = x402_pb2.ClaimPaymentRequest(
            request_id=request_id,
            authorization=authorization,
            model=order.model.id,
            quantity=order.quantity,
            atomic=_atomic(order),
            idempotency_key=idempotency_key,
        )
        try:
            covered = await self._client.claim(asked)
        except MeshError as error:
            if error.code is Code.INSUFFICIENT_CREDITS:
                raise self._invalid(order, error.message) from error
            if error.code is not Code.CONFLICT:
                self._give_up(request_id)
            raise
        except BaseException:
            self._give_up(request_id)
            raise
        hold = WalletHold(
            *(self._client, self._billing, request_id, _credits(order), authorization, self._client.terms),
            refused=lambda error: self._failed(order, offered, error),
            paid=lambda: self._limits.forget(self.address(order.request), attempts),
        )
        if covered:
            hold.cover()
        return hold

    def _invalid(self, order: Order, message: str) -> MeshError:
        return self._required(order, message, "payment_invalid")

    def _give_up(self, request_id: str) -> None:
        """Ends what a claim may have made, because whether it was made is unknown: a claim, or a hold of a balance."""
        self._client.release_later(request_id)
        Hold(self._billing, request_id).abandon(billing_pb2.OUTCOME_FAILED)

    def _failed(self, order: Order, offered: Offered, error: MeshError) -> MeshError:
        told = payment_response(self._client.terms, offered.authorization.payer, "", "settlement_failed")
        return self._required(order, error.message, "payment_failed", {RESPONSE_HEADER: told})

    def _required(self, order: Order, message: str, code: str, headers: Mapping[str, str] | None = None) -> MeshError:
        units = f"{order.quantity} {order.model.unit}s" if order.quantity > 1 else f"One {order.model.unit}"
        resource = Resource(str(order.request.url), f"{units} to {order.model.id}")
        return payment_required(self._client.terms, _atomic(order), resource, message, code, headers)


class _WalletPayment:
    """A payment that came with a request."""

    def __init__(self, wallets: Wallets, offered: Offered, *, attempts: int) -> None:
        self._wallets = wallets
        self._offered = offered
        self._attempts = attempts

    async def claim(self, order: Order, idempotency_key: str) -> WalletHold:
        """Takes the payment for its order; raises MeshError if it does not pay."""
        return await self._wallets.claim(order, self._offered, self._attempts, idempotency_key)


def _credits(order: Order) -> int:
    return order.model.price * order.quantity


def _atomic(order: Order) -> int:
    return _credits(order) * CREDIT_ATOMIC


def _lacks_key(headers: Mapping[str, str]) -> bool:
    """Tells whether a request has no key: an unknown one is refused, whatever else the request has."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    if scheme and scheme.lower() != "bearer":
        return False
    return key.strip() in _NO_KEYS and headers.get("x-api-key", "").strip() in _NO_KEYS
