"""What the ledger should do, said once more in the simplest way: no batches, no double entry, no database."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.billing.ledger.holds import CHARGED, Outcome

PRICE = 10


@dataclass
class LedgerModel:
    """Credits by account, and for each request who pays and where its price is (its outcome, if that was charged)."""

    available: dict[str, int] = field(default_factory=dict)
    payer: dict[str, str] = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)
    granted: dict[str, tuple[str, int]] = field(default_factory=dict)

    def grant(self, grant_id: str, account: str, amount: int) -> int | str:
        if self.granted.setdefault(grant_id, (account, amount)) != (account, amount):
            return "CONFLICT"
        if grant_id not in self.state:
            self.state[grant_id] = "granted"
            self.available[account] = self.available.get(account, 0) + amount
        return amount

    def reserve(self, request: str, account: str) -> int | str:
        if request in self.payer:
            again = self.payer[request] == account and self.state[request] == "open"
            return PRICE if again else "CONFLICT"
        if self.available.get(account, 0) < PRICE:
            return "INSUFFICIENT_CREDITS"
        self.available[account] -= PRICE
        self.payer[request], self.state[request] = account, "open"
        return PRICE

    def settle(self, request: str, outcome: Outcome) -> int | str:
        charge = outcome in CHARGED
        if request not in self.payer:
            if charge:
                return "NOT_FOUND"
            # A Reserve that comes later is refused.
            self.payer[request], self.state[request] = "", "released"
            return 0
        state, account = self.state[request], self.payer[request]
        if state == "open":
            self.state[request] = outcome if charge else "released"
            self.available[account] += 0 if charge else PRICE
        elif state == Outcome.COMPLETED and outcome == Outcome.FAILED:
            self.available[account] += PRICE
            self.state[request] = "released"
        elif state == "expired" and not charge:
            self.state[request] = "released"
        elif state == "expired":
            if self.available[account] < PRICE:
                return "INSUFFICIENT_CREDITS"
            self.available[account] -= PRICE
            self.state[request] = outcome
        return PRICE if self.state[request] in CHARGED else 0

    def expire(self, request: str) -> int | str:
        if request not in self.payer:
            return "NOT_FOUND"
        if self.state[request] == "open":
            self.state[request] = "expired"
            self.available[self.payer[request]] += PRICE
        return PRICE if self.payer[request] else 0

    def held(self, account: str) -> int:
        return sum(PRICE for request, payer in self.payer.items() if payer == account and self.state[request] == "open")
