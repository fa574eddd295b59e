"""Bounds what the bodies of all requests in progress take of this process's memory, together and for each account."""

from __future__ import annotations

from typing import Self

from services.common.errors import Code, MeshError

# When memory may be free again is not known; requests take seconds. Unit: seconds.
_RETRY_AFTER = 2.0


class NoMemoryError(MeshError):
    """There is no memory for a body now."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.OVERLOADED, message, retry_after=_RETRY_AFTER)


class BodyMemory:
    """The bytes that are held, by account. What an account may hold at most shrinks as memory fills up.

    An account gets no more than what is left free: so one alone holds half of `total` at most, and there is always room
    for the requests of others, the smaller the more accounts hold much. Such a share needs no reservation, and is known
    from switches (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998).
    """

    def __init__(self, *, total: int, per_account: int) -> None:
        """`total` and `per_account` are the most that is held, in bytes."""
        self._total = total
        self._per_account = per_account
        self._held = 0
        self._accounts: dict[str, int] = {}

    @property
    def held(self) -> int:
        """The bytes that all requests hold."""
        return self._held

    def of_account(self, account_id: str) -> int:
        """Returns the bytes that the requests of an account hold."""
        return self._accounts.get(account_id, 0)

    def share(self, account_id: str, address: str = "") -> BodyShare:
        """Returns the share of one request, for a `with`: what it holds at the end of that is given back.

        Where no account is known yet, it counts for the address that the request comes from.
        """
        return BodyShare(self, account_id, account_id or address)

    def check(self, account_id: str, count: int) -> None:
        """Raises NoMemoryError if an account cannot get so many bytes now."""
        mine = self._accounts.get(account_id, 0) + count
        if mine > self._per_account:
            message = (
                "The unfinished requests of this account are too large together: their bodies may have "
                f"{self._per_account} bytes at one server. Wait until some have ended, or send smaller ones."
            )
            raise NoMemoryError(message)
        if mine > self._total - self._held - count:
            message = "This server has no memory left for a body of this size. Send the request again shortly."
            raise NoMemoryError(message)

    def add(self, account_id: str, count: int) -> None:
        """Notes that an account holds so many bytes more, or fewer if it is negative."""
        self._held += count
        mine = self._accounts.get(account_id, 0) + count
        if mine:
            self._accounts[account_id] = mine
        else:
            self._accounts.pop(account_id, None)


class BodyShare:
    """What one request holds of that memory, as long as a `with` lasts."""

    __slots__ = ("_memory", "_owner", "account_id", "held")

    def __init__(self, memory: BodyMemory, account_id: str, owner: str) -> None:
        self._memory = memory
        # Empty for who has not paid yet.
        self.account_id = account_id
        self._owner = owner
        # Bytes.
        self.held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.held:
            self.give_back(self.held)

    def expect(self, count: int) -> None:
        """Raises NoMemoryError if so many bytes more could not be taken now."""
        self._memory.check(self._owner, count)

    def take(self, count: int) -> None:
        """Takes bytes, before or as they arrive; raises NoMemoryError if they cannot be had."""
        self._memory.check(self._owner, count)
        self._memory.add(self._owner, count)
        self.held += count

    def keep(self, count: int) -> None:
        """Gives back all but so many bytes, for that is what is left of the body; raises NoMemoryError for more."""
        if count > self.held:
            self.take(count - self.held)
        else:
            self.give_back(self.held - count)

    def give_back(self, count: int) -> None:
        """Gives back bytes that are not kept."""
        self._memory.add(self._owner, -count)
        self.held -= count
