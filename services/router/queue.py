"""Requests that wait for room in one tier, served in turn by account, each account's own in order of arrival."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from services.common.errors import MeshError
from services.router.placement import Needs
from services.router.runners.live_runner import LiveRunner

# Hears what became of a request: exactly once, unless it is withdrawn.
OnPlaced = Callable[[LiveRunner | MeshError], None]


@dataclass(slots=True, eq=False)
class Waiter:
    """One waiting request. Times are monotonic seconds."""

    needs: Needs
    account_id: str
    tier: str
    answer: OnPlaced
    since: float
    # When it stops waiting for room.
    deadline: float
    # When it stops waiting to learn whether there is a runner at all.
    settle_by: float
    # When it stops waiting for the first runner of a tier that is scaled to zero; the time of its arrival for others.
    start_by: float
    # Only a preference among runners with room, and so no part of the needs.
    prefix_hashes: Sequence[int] = ()


class FairQueue:
    """The waiting requests of one tier; at most `limit`, and `account_limit` of one account."""

    def __init__(self, limit: int, account_limit: int) -> None:
        self._limit = limit
        self._account_limit = account_limit
        self._size = 0
        # Accounts with waiting requests, the one whose turn it is first.
        self._accounts: OrderedDict[str, OrderedDict[Waiter, None]] = OrderedDict()
        # How many wait with each kind of needs.
        self._needs: Counter[Needs] = Counter()

    def __len__(self) -> int:
        return self._size

    def wanted(self, needs: Needs) -> bool:
        """Whether requests with these needs wait: then there is no room for them, and nobody may jump the queue."""
        return needs in self._needs

    def __iter__(self) -> Iterator[Waiter]:
        """Iterates over a copy, so that waiters may leave meanwhile."""
        return iter([waiter for line in self._accounts.values() for waiter in line])

    def add(self, waiter: Waiter, *, again: bool = False) -> bool:
        """Lines a request up; False if there is no place.

        `again` is for one that had its turn and was refused by the runner: it goes before its account's others.
        """
        line = self._accounts.get(waiter.account_id, OrderedDict())
        if self._size >= self._limit or len(line) >= self._account_limit:
            return False
        self._accounts[waiter.account_id] = line
        line[waiter] = None
        if again:
            line.move_to_end(waiter, last=False)
        self._needs[waiter.needs] += 1
        self._size += 1
        return True

    def remove(self, waiter: Waiter) -> None:
        """Takes a request out; does nothing if it is out."""
        line = self._accounts.get(waiter.account_id)
        if line is None or waiter not in line:
            return
        del line[waiter]
        if not line:
            del self._accounts[waiter.account_id]
        self._size -= 1
        self._needs[waiter.needs] -= 1
        if not self._needs[waiter.needs]:
            del self._needs[waiter.needs]

    def serve(self, settle: Callable[[Waiter], bool]) -> None:
        """Lets `settle` try requests in fair order; those for which it returns True leave.

        Once a request could not be settled, no other with the same needs is tried, so that a full tier costs one try.
        """
        stuck: set[Needs] = set()
        turns = deque(self._accounts)
        while turns and len(stuck) < len(self._needs):
            account = turns.popleft()
            if self._serve_one(account, stuck, settle) and account in self._accounts:
                # Its turn is over; it comes again after all others.
                self._accounts.move_to_end(account)
                turns.append(account)

    def _serve_one(self, account: str, stuck: set[Needs], settle: Callable[[Waiter], bool]) -> bool:
        for waiter in self._accounts.get(account, ()):
            if waiter.needs in stuck:
                continue
            if settle(waiter):
                self.remove(waiter)
                return True
            stuck.add(waiter.needs)
        return False
