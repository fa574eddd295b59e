"""Random histories of a ledger over several days, in which requests end in every way, late and twice."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from services.billing.ledger.holds import Outcome
from services.billing.ledger.operations import Expire, Grant, Operation, Reserve, Settle
from services.billing.ledger.prices import Quote
from services.billing.ledger.usage import DAY_MS
from services.billing.store.store import LedgerStore

FIRST = int(datetime(2026, 11, 30, tzinfo=UTC).timestamp() * 1000)
DAYS = 4
ACCOUNTS = ("acct_a", "acct_b", "system; is none", "é")
_PRICES = {"pro": 10, "max": 15, "free": 0}
_ENDS = [end for end in Outcome if end not in {Outcome.NONE, Outcome.EXPIRED}]


class RandomHistory:
    """Commits random batches at random moments; most are near midnight."""

    def __init__(self, store: LedgerStore, seed: int) -> None:
        self._store = store
        self._chance = random.Random(seed)
        self._requests = 0

    async def begin(self) -> None:
        """Gives every account more than it can spend."""
        await self._store.commit([Grant(f"grant {account}", account, 100_000) for account in ACCOUNTS], FIRST)

    async def go_on(self, batches: int) -> None:
        """Commits so many batches. What is refused is part of the history."""
        for _ in range(batches):
            operations = [self._operation() for _ in range(self._chance.randint(1, 8))]
            await self._store.commit(operations, self.moment())

    async def end(self) -> None:
        """Ends every hold that is open."""
        await self._store.commit([Expire(self._name(number)) for number in range(self._requests)], self.moment())

    def moment(self) -> int:
        """Draws a moment of the history, in milliseconds since 1970."""
        midnight = FIRST + self._chance.randrange(DAYS + 1) * DAY_MS
        return midnight + self._chance.choice([-1, 0, 1, self._chance.randrange(DAY_MS)])

    def _operation(self) -> Operation:
        number = self._chance.randint(max(0, self._requests - 12), self._requests)
        draw = self._chance.random()
        if draw < 0.45:
            number = self._requests
            self._requests += 1
            model = self._chance.choice(list(_PRICES))
            quote = Quote(model, self._chance.randint(1, 2), _PRICES[model])
            account = self._chance.choice(ACCOUNTS)
            return Reserve(self._name(number), account, f"key {self._chance.randint(1, 3)}", quote)
        if draw < 0.55:
            return Expire(self._name(number))
        tokens = self._chance.randrange(100), self._chance.randrange(100)
        return Settle(self._name(number), self._chance.choice([*_ENDS, Outcome.COMPLETED]), *tokens, "runner")

    @staticmethod
    def _name(number: int) -> str:
        return f"request {number}"
