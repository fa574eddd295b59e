"""Bounds what can be tried from one address: to sign in, and to open accounts.

No one guesses a key of 256 random bits. The limits keep those who try from keeping auth busy, and from filling it.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable

from aiohttp import web

from services.common.errors import Code, MeshError

# How many addresses are remembered; those that tried longest ago are forgotten first.
_MOST_ADDRESSES = 10_000
# A customer's network has so many bits in IPv6, and may use every address in it.
_IPV6_PREFIX = 64


class AttemptLimits:
    """Counts attempts by address in the last `seconds`; `what` is what people attempt, for those who may not."""

    def __init__(
        self,
        most: int,
        seconds: float,
        what: str,
        monotonic: Callable[[], float],
        *,
        most_addresses: int = _MOST_ADDRESSES,
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._what = what
        self._monotonic = monotonic
        self._most_addresses = most_addresses
        self._attempts: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Counts one attempt; raises MeshError RATE_LIMITED, with when the next one is allowed, for one too many."""
        now = self._monotonic()
        attempts = self._attempts.setdefault(address, deque())
        self._attempts.move_to_end(address)
        if len(self._attempts) > self._most_addresses:
            self._attempts.popitem(last=False)
        while attempts and attempts[0] <= now - self._seconds:
            attempts.popleft()
        if len(attempts) >= self._most:
            wait = attempts[0] + self._seconds - now
            message = f"Too many attempts to {self._what} from your network. Try again in {wait:.0f} seconds."
            raise MeshError(Code.RATE_LIMITED, message, retry_after=wait)
        attempts.append(now)

    def forget(self, address: str, count: int) -> None:
        """Counts the last attempts of an address no more, because they were no misuse."""
        attempts = self._attempts.get(address) or deque()
        for _ in range(min(count, len(attempts))):
            attempts.pop()


def client_address(request: web.Request, trusted_proxies: int) -> str:
    """Returns who sent a request, as far as it can be known; for IPv6 the network.

    Each trusted proxy adds the address of its peer at the end of X-Forwarded-For, so the client's is as many places
    from there. What stands before it is the client's own invention.
    """
    text = request.remote or ""
    if trusted_proxies:
        given = [part.strip() for line in request.headers.getall("X-Forwarded-For", ()) for part in line.split(",")]
        if len(given) >= trusted_proxies:
            text = given[-trusted_proxies]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)
