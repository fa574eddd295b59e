"""Turns at something that all accounts share: none has more than its share of them, and each gets one in its turn."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.common.errors import Code, MeshError


class FairTurns:
    """Has `count` turns, of which one account may have a quarter at a time."""

    def __init__(self, count: int, *, wait_seconds: float) -> None:
        self._free = count
        self._share = max(1, count // 4)
        self._wait_seconds = wait_seconds
        self._taken: Counter[str] = Counter()
        # Those who wait, by account, the account whose turn it is first.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, account_id: str) -> AsyncIterator[None]:
        """Waits for a turn and holds it; raises MeshError OVERLOADED if none comes within `wait_seconds`."""
        await self._take(account_id)
        try:
            yield
        finally:
            self._give_back(account_id)

    async def _take(self, account_id: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account_id, deque()).append(turn)
        self._hand_out()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # It came at the very moment at which nobody wanted it any more.
                self._give_back(account_id)
            if isinstance(error, TimeoutError):
                raise _too_many() from None
            raise

    def _give_back(self, account_id: str) -> None:
        self._free += 1
        self._taken[account_id] -= 1
        if not self._taken[account_id]:
            del self._taken[account_id]
        self._hand_out()

    def _hand_out(self) -> None:
        """Gives free turns to those who wait, one account after another."""
        while self._free and (account_id := self._next()) is not None:
            line = self._waiting.pop(account_id)
            turn = line.popleft()
            if line:
                # Behind the other accounts.
                self._waiting[account_id] = line
            if not turn.cancelled():
                self._free -= 1
                self._taken[account_id] += 1
                turn.set_result(None)

    def _next(self) -> str | None:
        """Returns the first account in the line that has not got its share."""
        return next((account for account in self._waiting if self._taken[account] < self._share), None)


def _too_many() -> MeshError:
    message = "Too many images are being fetched. Try again shortly, or send the images as data: URLs."
    return MeshError(Code.OVERLOADED, message, retry_after=1.0)
