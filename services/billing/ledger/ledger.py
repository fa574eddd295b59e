"""The rules of the ledger, on a working copy of what one transaction has read.

Double entry: every movement is two lines that sum to zero. A customer's account has two pockets, available and held;
whatever leaves a pocket arrives in another.

    grant     system:grants        -> account, available
    reserve   account, available   -> account, held
    capture   account, held        -> system:revenue
    release   account, held        -> account, available
    refund    system:revenue       -> account, available
    deposit   system:deposits      -> account, available
    payout    account, available   -> system:deposits

One more capture exists, from the available pocket: of a hold that the sweeper had released before its edge came back.
A refund takes back the capture of an answer whose end its client never got (docs/decisions/0006).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from services.billing.ledger import refusals
from services.billing.ledger.deposits import DepositBooks, RecordDeposits, RecordedDeposit
from services.billing.ledger.holds import CHARGED, NO_ACCOUNT, Hold, Outcome, State
from services.billing.ledger.idempotency import Claims
from services.billing.ledger.operations import Effect, Expire, Grant, Operation, Reserve, Result, Settle
from services.billing.ledger.spending import Spending, capped_keys
from services.billing.ledger.wallet_payments import (
    IN_PROGRESS,
    CoverWalletPayment,
    PaymentBooks,
    PaymentState,
    PayOut,
    SettleWalletPayment,
    WalletPayment,
)
from services.common.errors import MeshError

AVAILABLE = "available"
HELD = "held"
GRANTS = "system:grants"
REVENUE = "system:revenue"
DEPOSITS = "system:deposits"

# The most that one account may own: far below what a database integer holds, so that no sum ever overflows.
MAX_CREDITS = 10**15


class Entry(NamedTuple):
    """One line of a movement; the order is that of the columns."""

    reference: str
    kind: str
    account_id: str
    pocket: str
    amount: int
    at_ms: int


@dataclass(slots=True)
class Balance:
    """What one account owns."""

    available: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class OpenHolds:
    """What is held now; `oldest_ms` is when the oldest hold was made, None if there is none."""

    count: int
    credits: int
    oldest_ms: int | None


class Ledger:
    """Applies operations one after another to what was read, and collects what has to be written."""

    def __init__(
        self,
        holds: dict[str, Hold],
        balances: dict[str, Balance],
        grants: dict[str, Grant],
        *,
        now_ms: int,
        claims: Claims | None = None,
        spending: Spending | None = None,
        deposits: DepositBooks | None = None,
        payments: PaymentBooks | None = None,
    ) -> None:
        self._holds = holds
        self._balances = balances
        self._grants = grants
        self._now_ms = now_ms
        self._claims = claims or Claims()
        self.spending = spending or Spending()
        self._deposits = deposits or DepositBooks()
        self._payments = payments or PaymentBooks()
        self.new_holds: dict[str, Hold] = {}
        self.ended_holds: dict[str, Hold] = {}
        self.new_grants: dict[str, Grant] = {}
        self.new_balances: dict[str, Balance] = {}
        self.changed_balances: dict[str, Balance] = {}
        self.entries: list[Entry] = []
        # Credits by kind of movement.
        self.moved: dict[str, int] = {}

    def apply(self, operation: Operation) -> Result:
        """Does one operation, or returns why not, having changed nothing."""
        try:
            return self._do(operation)
        except MeshError as error:
            return error

    def _do(self, operation: Operation) -> Effect:
        match operation:
            case Reserve():
                return self._reserve(operation)
            case Settle():
                return self._settle(operation)
            case Expire():
                return self._expire(operation)
            case Grant():
                return self._grant(operation)
            case RecordDeposits():
                return self._record_deposits(operation)
            case SettleWalletPayment() | CoverWalletPayment() | PayOut():
                return self._of_wallet(operation)

    def _reserve(self, asked: Reserve) -> Effect:
        hold = self._holds.get(asked.request_id)
        if hold is not None:
            return self._reserve_again(asked, hold)
        quote = asked.quote
        amount = quote.unit_price * quote.quantity
        if amount > self._balance(asked.account_id).available:
            raise refusals.insufficient_credits(quote.model, amount, self._balance(asked.account_id).available)
        hold = Hold(
            *(asked.request_id, asked.account_id, asked.key_id, quote.model),
            *(quote.quantity, quote.unit_price, amount, self._now_ms),
            key_monthly_cap=min((cap.credits for cap in asked.caps), default=None),
            idempotency_key=asked.idempotency_key or None,
            capped_keys=capped_keys(asked.key_id, asked.caps),
        )
        self.spending.check(hold, asked.caps)
        self._claims.claim(hold)
        self.spending.add(hold, amount)
        self._holds[hold.request_id] = self.new_holds[hold.request_id] = hold
        self._move(hold.request_id, "reserve", hold.account_id, amount, (AVAILABLE, HELD))
        return self._receipt(hold.account_id, amount)

    def _reserve_again(self, asked: Reserve, hold: Hold) -> Effect:
        """Answers a repeat as the first time, at the price of the first time, while the hold is open."""
        if hold.account_id == NO_ACCOUNT:
            raise refusals.request_ended()
        same = (hold.account_id, hold.model, hold.quantity)
        if same != (asked.account_id, asked.quote.model, asked.quote.quantity):
            raise refusals.request_id_taken()
        if hold.state != State.OPEN:
            # A repeat that arrives after the end is no retry: saying yes would let a second answer go unpaid.
            raise refusals.request_ended()
        return self._receipt(hold.account_id, hold.amount)

    def _settle(self, asked: Settle) -> Effect:
        """Ends a hold. The first settle decides: a repeat reports what was charged, whatever its own outcome says.

        Two ends are not final. A hold that expired takes the outcome of the first settle, and is captured if that is
        charged and the account can pay. A completed request is refunded when its edge says that it failed after all.

        A free settle may overtake the Reserve of its request, whose edge has stopped waiting for it. What it leaves
        refuses that Reserve, so that no credits are held for a request that has ended.
        """
        charge = asked.outcome in CHARGED
        hold = self._holds.get(asked.request_id)
        if hold is None:
            if charge:
                raise refusals.no_such_request()
            return self._withdraw(asked)
        if hold.state == State.OPEN:
            to = (HELD, REVENUE) if charge else (HELD, AVAILABLE)
            self._end(hold, asked, "capture" if charge else "release", to)
        elif hold.outcome == Outcome.EXPIRED and charge:
            self._capture_late(hold, asked)
        elif hold.outcome == Outcome.EXPIRED:
            # The client was told of a free end, so that no delayed charge may follow.
            self._conclude(hold, asked)
        elif asked.outcome == Outcome.FAILED and hold.outcome == Outcome.COMPLETED:
            # The edge never heard that the charge was made, and has told its client that the answer failed.
            self._end(hold, asked, "refund", (REVENUE, AVAILABLE))
        return self._receipt(hold.account_id, hold.charged)

    def _withdraw(self, asked: Settle) -> Effect:
        hold = Hold.withdrawn(asked.request_id, self._now_ms)
        self._holds[hold.request_id] = self.new_holds[hold.request_id] = hold
        hold.state = State.RELEASED
        self._conclude(hold, asked)
        return self._receipt(hold.account_id, 0)

    def _capture_late(self, hold: Hold, asked: Settle) -> None:
        """Takes the price of an expired hold from what is available now: the answer was produced after all."""
        available = self._balance(hold.account_id).available
        if hold.amount > available:
            raise refusals.insufficient_credits(hold.model, hold.amount, available)
        # A repeat of the request may have been charged instead.
        self._claims.claim(hold)
        self.spending.add(hold, hold.amount)
        self._end(hold, asked, "capture", (AVAILABLE, REVENUE))

    def _expire(self, asked: Expire) -> Effect:
        hold = self._holds.get(asked.request_id)
        if hold is None:
            raise refusals.no_such_request()
        if hold.state == State.OPEN:
            self._end(hold, Settle(hold.request_id, Outcome.EXPIRED), "release", (HELD, AVAILABLE))
        return self._receipt(hold.account_id, hold.amount)

    def _end(self, hold: Hold, how: Settle, kind: str, pockets: tuple[str, str]) -> None:
        hold.state = State.CAPTURED if kind == "capture" else State.RELEASED
        self._conclude(hold, how)
        if hold.state == State.RELEASED:
            self.spending.add(hold, -hold.amount)
        self._move(hold.request_id, kind, hold.account_id, hold.amount, pockets)

    def _conclude(self, hold: Hold, how: Settle) -> None:
        """Notes how a request ended; its credits are where they belong already."""
        hold.outcome = how.outcome
        hold.prompt_tokens, hold.completion_tokens = how.prompt_tokens, how.completion_tokens
        hold.runner_id, hold.settled_ms = how.runner_id, self._now_ms
        if hold.request_id not in self.new_holds:
            self.ended_holds[hold.request_id] = hold

    def _grant(self, asked: Grant) -> Effect:
        known = self._grants.get(asked.grant_id)
        if known is None:
            balance = self._balance(asked.account_id)
            if balance.available + balance.held + asked.credits > MAX_CREDITS:
                raise refusals.too_many_credits(MAX_CREDITS)
            self._grants[asked.grant_id] = self.new_grants[asked.grant_id] = asked
            self._move(asked.grant_id, "grant", asked.account_id, asked.credits, (GRANTS, AVAILABLE))
        elif (known.account_id, known.credits) != (asked.account_id, asked.credits):
            raise refusals.grant_id_taken()
        return self._receipt(asked.account_id, asked.credits)

    def _record_deposits(self, asked: RecordDeposits) -> Effect:
        taken = self._deposits.take(asked, self._now_ms)
        for deposit in taken:
            self._credit(deposit)
        return Effect(sum(deposit.credits for deposit in taken), 0, 0)

    def _of_wallet(self, operation: SettleWalletPayment | CoverWalletPayment | PayOut) -> Effect:
        match operation:
            case SettleWalletPayment():
                return self._settle_wallet_payment(operation)
            case CoverWalletPayment():
                return self._cover(operation)
            case PayOut():
                return self._pay_out(operation)

    def _settle_wallet_payment(self, asked: SettleWalletPayment) -> Effect:
        """Credits a payment once, whatever its state says: the chain shows it. A repeat changes nothing.

        The price is held if the request may still be served, and has not ended before billing heard of it.
        """
        payment = self._payments.find(asked.request_id)
        amount = payment.unit_price * payment.quantity
        if payment.state != PaymentState.SETTLED:
            deposit = payment.deposit(asked)
            self._credit(
                self._deposits.take_payment(payment.chain_id, payment.token, deposit, payment.account_id, self._now_ms)
            )
            if payment.state in IN_PROGRESS and payment.request_id not in self._holds:
                self._hold_price(payment)
            self._payments.settle(payment, asked)
        return self._receipt(payment.account_id, amount)

    def _cover(self, asked: CoverWalletPayment) -> Effect:
        """Holds the price of a claimed payment in the balance of its wallet; a repeat changes nothing."""
        payment = self._payments.find(asked.request_id)
        hold = self._holds.get(payment.request_id)
        amount = payment.unit_price * payment.quantity
        if payment.state == PaymentState.COVERED and hold is not None and hold.state == State.OPEN:
            return self._receipt(payment.account_id, amount)
        if payment.state != PaymentState.CLAIMED or hold is not None:
            raise refusals.request_ended()
        available = self._balance(payment.account_id).available
        if amount > available:
            raise refusals.insufficient_credits(payment.model, amount, available)
        self._hold_price(payment)
        self._payments.cover(payment)
        return self._receipt(payment.account_id, amount)

    def _hold_price(self, payment: WalletPayment) -> None:
        hold = payment.hold(self._now_ms)
        self._holds[hold.request_id] = self.new_holds[hold.request_id] = hold
        self._move(hold.request_id, "reserve", hold.account_id, hold.amount, (AVAILABLE, HELD))

    def _pay_out(self, asked: PayOut) -> Effect:
        payout = self._payments.payouts.take(asked.account_id, self._balance(asked.account_id).available, self._now_ms)
        if payout is not None:
            self._move(payout.payout_id, "payout", payout.account_id, payout.credits, (AVAILABLE, DEPOSITS))
        return self._receipt(asked.account_id, payout.credits if payout is not None else 0)

    def _credit(self, deposit: RecordedDeposit) -> None:
        if deposit.account_id not in self._balances:
            # Also for less than a credit: who locks the balance may change what the account has deposited.
            self._balances[deposit.account_id] = self.new_balances[deposit.account_id] = Balance()
        if deposit.credits:
            self._move(deposit.reference, "deposit", deposit.account_id, deposit.credits, (DEPOSITS, AVAILABLE))

    def _move(self, reference: str, kind: str, account_id: str, amount: int, pockets: tuple[str, str]) -> None:
        """Writes the two lines and keeps the balance equal to their sum."""
        self.moved[kind] = self.moved.get(kind, 0) + amount
        balance = self._balances.get(account_id)
        if balance is None:
            balance = self._balances[account_id] = self.new_balances[account_id] = Balance()
        elif account_id not in self.new_balances:
            self.changed_balances[account_id] = balance
        for pocket, change in zip(pockets, (-amount, amount), strict=True):
            if pocket == AVAILABLE:
                balance.available += change
            elif pocket == HELD:
                balance.held += change
            else:
                self.entries.append(Entry(reference, kind, pocket, AVAILABLE, change, self._now_ms))
                continue
            self.entries.append(Entry(reference, kind, account_id, pocket, change, self._now_ms))

    def _balance(self, account_id: str) -> Balance:
        return self._balances.get(account_id) or Balance()

    def _receipt(self, account_id: str, amount: int) -> Effect:
        balance = self._balance(account_id)
        return Effect(amount, balance.available, balance.held)
