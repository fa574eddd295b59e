"""Payments of wallets: an authorization to transfer tokens pays for one request, and is claimed for it once.

    claimed ─▶ sent ─▶ settled    claimed ─▶ released    claimed ─▶ covered    claimed, sent ─▶ failed

The ledger hears of a payment when the chain shows its transfer. Then the account of the wallet gets a deposit, and the
price of the request is held in the same transaction. A request that has ended meanwhile is not paid for: its credits
are the balance of the wallet.

The balance pays first: a payment that it covers never reaches the chain. What is left of it can be paid out: it leaves
the ledger before it moves on the chain, so that it is not spent meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from services.billing.ledger import refusals
from services.billing.ledger.deposits import CREDIT_ATOMIC, Deposit, DepositKey
from services.billing.ledger.holds import Hold

# What requests of wallets have in place of an API key.
KEY_ID = "x402"


class PaymentState(StrEnum):
    """How far a payment has got; the text is what the database holds."""

    CLAIMED = "claimed"
    SENT = "sent"
    SETTLED = "settled"
    FAILED = "failed"
    RELEASED = "released"
    COVERED = "covered"


# What a request may still be served for.
IN_PROGRESS = frozenset({PaymentState.CLAIMED, PaymentState.SENT})


class WalletPayment(NamedTuple):
    """One payment; the order is that of the columns. Addresses and hashes are in lower case."""

    chain_id: int
    token: str
    payer: str
    nonce: str
    pay_to: str
    # In smallest units: the price of the request.
    atomic: int
    # In seconds since the Unix epoch.
    valid_before: int
    # A block before which the authorization was not used.
    from_block: int
    request_id: str
    account_id: str
    model: str
    quantity: int
    unit_price: int
    # None for none.
    idempotency_key: str | None
    claimed_ms: int
    state: str = PaymentState.CLAIMED
    # Of the transaction that was written down; None before.
    relayer: str | None = None
    relayer_nonce: int | None = None
    raw_transaction: str | None = None
    # Of the transfer, or of the transaction that is to make it.
    tx_hash: str | None = None
    log_index: int | None = None

    def deposit(self, transfer: SettleWalletPayment) -> Deposit:
        """Returns the transfer as deposits are recorded."""
        return Deposit(
            *(transfer.tx_hash, transfer.log_index, transfer.block_number, transfer.block_hash),
            *(self.payer, self.pay_to, self.atomic),
        )

    def hold(self, now_ms: int) -> Hold:
        """Returns the hold of the price, which the payment has brought."""
        return Hold(
            *(self.request_id, self.account_id, KEY_ID, self.model),
            *(self.quantity, self.unit_price, self.unit_price * self.quantity, now_ms),
        )


class SettleWalletPayment(NamedTuple):
    """Take the transfer of a payment, as the chain shows it."""

    request_id: str
    tx_hash: str
    log_index: int
    block_number: int
    block_hash: str


class CoverWalletPayment(NamedTuple):
    """Take the price of a claimed payment from the balance of its wallet."""

    request_id: str


class PayOut(NamedTuple):
    """Take what a wallet has not spent, for a transfer to it. A payout that is not made yet is not made larger."""

    account_id: str


class Payout(NamedTuple):
    """What goes back to a wallet; the order is that of the columns. Addresses and hashes are in lower case."""

    payout_id: str
    account_id: str
    chain_id: int
    token: str
    # Who receives, and who pays.
    wallet: str
    treasury: str
    credits: int
    atomic: int
    at_ms: int
    # Of its transfer, once that is final; None before.
    tx_hash: str | None = None
    log_index: int | None = None
    block_number: int | None = None
    block_hash: str | None = None


class PaidWallet(NamedTuple):
    """What one transaction knows of a wallet that may be paid out."""

    # Of its last payment: chain, token, wallet and treasury; None if it has made none.
    terms: tuple[int, str, str, str] | None
    # In smallest units.
    deposited: int
    # How many payouts there were, of how many credits together, and whether one of them is not made yet.
    payouts: int
    paid_out: int
    is_open: bool


class PayoutBooks:
    """What one transaction knows of the wallets that it pays out, by their accounts, and its new payouts."""

    def __init__(self, wallets: Mapping[str, PaidWallet] | None = None) -> None:
        self._wallets = dict(wallets or {})
        self.new: list[Payout] = []

    def take(self, account_id: str, available: int, now_ms: int) -> Payout | None:
        """Returns the next payout of a wallet, None while one is not made yet; raises MeshError CONFLICT.

        What was granted is not paid out: nobody has paid for it.
        """
        wallet = self._wallets[account_id]
        if wallet.is_open:
            return None
        credits_left = min(available, wallet.deposited // CREDIT_ATOMIC - wallet.paid_out)
        if wallet.terms is None or credits_left <= 0:
            raise refusals.nothing_to_pay_out(account_id)
        chain_id, token, address, treasury = wallet.terms
        payout = Payout(
            *(f"payout:{account_id}:{wallet.payouts + 1}", account_id, chain_id, token, address, treasury),
            *(credits_left, credits_left * CREDIT_ATOMIC, now_ms),
        )
        self._wallets[account_id] = wallet._replace(is_open=True)
        self.new.append(payout)
        return payout


class PaymentBooks:
    """What one transaction knows of payments, by their requests, and which of them it settles or covers."""

    def __init__(self, payments: Mapping[str, WalletPayment] | None = None) -> None:
        self._payments = dict(payments or {})
        # As they are afterwards.
        self.settled: list[WalletPayment] = []
        self.covered: list[WalletPayment] = []
        # What it pays out.
        self.payouts = PayoutBooks()

    def find(self, request_id: str) -> WalletPayment:
        """Returns the payment of a request; raises MeshError NOT_FOUND."""
        payment = self._payments.get(request_id)
        if payment is None:
            raise refusals.no_such_payment()
        return payment

    @property
    def accounts(self) -> set[str]:
        """The accounts of the wallets."""
        return {payment.account_id for payment in self._payments.values()}

    def account(self, request_id: str) -> set[str]:
        """Returns the account of the wallet that pays for a request; none if nobody does."""
        payment = self._payments.get(request_id)
        return {payment.account_id} if payment is not None else set()

    def deposits(self, transfers: Iterable[SettleWalletPayment]) -> dict[DepositKey, str]:
        """Returns the accounts that transfers credit, by what identifies the deposits that they are."""
        found = ((transfer, self._payments.get(transfer.request_id)) for transfer in transfers)
        return {
            DepositKey(payment.chain_id, transfer.tx_hash, transfer.log_index): payment.account_id
            for transfer, payment in found
            if payment is not None
        }

    def settle(self, payment: WalletPayment, transfer: SettleWalletPayment) -> None:
        """Notes that a payment is settled by a transfer."""
        after = payment._replace(state=PaymentState.SETTLED, tx_hash=transfer.tx_hash, log_index=transfer.log_index)
        self._payments[payment.request_id] = after
        self.settled.append(after)

    def cover(self, payment: WalletPayment) -> None:
        """Notes that the balance of its wallet pays."""
        after = payment._replace(state=PaymentState.COVERED)
        self._payments[payment.request_id] = after
        self.covered.append(after)
