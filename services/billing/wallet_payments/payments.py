"""Payments of wallets, checked before they reach the ledger or its database."""

from __future__ import annotations

from collections.abc import Sequence

from services.billing.committer import Committer
from services.billing.ledger import refusals
from services.billing.ledger.deposits import CREDIT_ATOMIC
from services.billing.ledger.identifiers import (
    check_address,
    check_chain,
    check_hash,
    check_id,
    check_number,
    check_text,
)
from services.billing.ledger.prices import Prices
from services.billing.ledger.wallet_payments import (
    CoverWalletPayment,
    PaymentState,
    SettleWalletPayment,
    WalletPayment,
)
from services.billing.store.wallet_payments import WalletPaymentStore
from services.common.clock import Clock, to_ms
from services.common.errors import Code, MeshError

# How long a transfer may wait for its transaction, in seconds.
SETTLE_TIMEOUT = 30.0
PAYMENT_PAGE, MAX_PAYMENT_PAGE = 100, 1_000
# More than the transfer of a token takes.
_MAX_TRANSACTION = 10_000


class WalletPayments:
    """Claims and transactions are written by themselves; transfers go through the ledger. Methods raise MeshError."""

    def __init__(self, committer: Committer, store: WalletPaymentStore, prices: Prices, clock: Clock) -> None:
        self._committer = committer
        self._store = store
        self._prices = prices
        self._clock = clock

    async def claim(self, asked: WalletPayment, *, balance_only: bool = False) -> tuple[int, bool]:
        """Takes a payment for its request.

        Returns what its wallet has promised, in smallest units, and whether its balance pays: then the price is held.
        Raises CONFLICT for an authorization that is used, and for a request that is paid for under the same
        idempotency key; with `balance_only`, INSUFFICIENT_CREDITS if the balance does not pay.
        """
        quote = self._prices.quote(asked.model, asked.quantity)
        price = quote.unit_price * quote.quantity * CREDIT_ATOMIC
        if asked.atomic != price or not price:
            raise refusals.wrong_price(asked.atomic, price)
        claim = await self._store.claim(
            WalletPayment(
                chain_id=check_chain(asked.chain_id),
                token=check_address("token", asked.token),
                payer=check_address("payer", asked.payer),
                nonce=check_hash("nonce", asked.nonce),
                pay_to=check_address("pay_to", asked.pay_to),
                atomic=asked.atomic,
                valid_before=check_number("valid_before", asked.valid_before),
                from_block=check_number("from_block", asked.from_block),
                request_id=check_id("request_id", asked.request_id),
                account_id=check_id("account_id", asked.account_id),
                model=quote.model,
                quantity=quote.quantity,
                unit_price=quote.unit_price,
                idempotency_key=check_text("idempotency_key", asked.idempotency_key or "") or None,
                claimed_ms=to_ms(self._clock()),
            ),
            balance_only=balance_only,
        )
        if claim.available < quote.unit_price * quote.quantity:
            return claim.outstanding, False
        return claim.outstanding, await self._cover(asked.request_id, balance_only=balance_only)

    async def _cover(self, request_id: str, *, balance_only: bool) -> bool:
        """Has the balance pay for a claimed payment, unless another request was faster."""
        try:
            await self._committer.execute(CoverWalletPayment(request_id), SETTLE_TIMEOUT)
        except MeshError as error:
            if error.code is not Code.INSUFFICIENT_CREDITS:
                raise
            if balance_only:
                await self._store.end(request_id, PaymentState.RELEASED)
                raise
            return False
        return True

    async def send(
        self, request_id: str, *, relayer: str, relayer_nonce: int, raw_transaction: str, tx_hash: str
    ) -> None:
        """Writes down the transaction that is to settle a payment; raises CONFLICT if it is not the payment's turn."""
        if len(raw_transaction) > _MAX_TRANSACTION:
            raise refusals.invalid("raw_transaction", f"must have at most {_MAX_TRANSACTION} characters")
        await self._store.send(
            check_id("request_id", request_id),
            relayer=check_address("relayer", relayer),
            relayer_nonce=check_number("relayer_nonce", relayer_nonce),
            raw_transaction=raw_transaction,
            tx_hash=check_hash("tx_hash", tx_hash),
        )

    async def settle(self, asked: SettleWalletPayment) -> None:
        """Credits a payment that is on the chain, and holds the price of its request."""
        checked = SettleWalletPayment(
            *(check_id("request_id", asked.request_id), check_hash("tx_hash", asked.tx_hash)),
            *(check_number("log_index", asked.log_index), check_number("block_number", asked.block_number)),
            check_hash("block_hash", asked.block_hash),
        )
        await self._committer.execute(checked, SETTLE_TIMEOUT)

    async def end(self, request_id: str, state: PaymentState) -> None:
        """Ends a payment without a transfer; raises CONFLICT if it has moved on."""
        if state not in {PaymentState.FAILED, PaymentState.RELEASED, PaymentState.SETTLED}:
            raise refusals.invalid("state", "must be FAILED, RELEASED or SETTLED")
        await self._store.end(check_id("request_id", request_id), state)

    async def find(self, request_id: str) -> WalletPayment:
        """Returns the payment of a request; raises NOT_FOUND."""
        return await self._store.find(check_id("request_id", request_id))

    async def page(self, state: PaymentState, after: str, size: int) -> Sequence[WalletPayment]:
        """Returns a page of the payments in a state."""
        if size > MAX_PAYMENT_PAGE:
            raise refusals.invalid("page_size", f"must be at most {MAX_PAYMENT_PAGE}")
        return await self._store.page(state, check_text("after_request_id", after), size or PAYMENT_PAGE)

    async def next_nonce(self, chain_id: int, relayer: str) -> int:
        """Returns the first nonce of a relayer that no written transaction has."""
        return await self._store.next_nonce(check_chain(chain_id), check_address("relayer", relayer))
