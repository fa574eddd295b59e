from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from services.common.errors import Code, MeshError
from services.common.http.attempt_limits import AttemptLimits, client_address
from tests.unit.auth.manual_clock import ManualClock


def test_one_too_many_is_refused_until_the_first_is_a_minute_old() -> None:
    clock = ManualClock()
    limits = AttemptLimits(3, 60, "sign in", clock)
    for _ in range(3):
        limits.count("a")
        clock.advance(10)
    with pytest.raises(MeshError) as caught:
        limits.count("a")
    assert (caught.value.code, caught.value.retry_after) == (Code.RATE_LIMITED, 30)
    assert caught.value.message == "Too many attempts to sign in from your network. Try again in 30 seconds."
    limits.count("b")
    clock.advance(30)
    limits.count("a")
    with pytest.raises(MeshError):
        limits.count("a")


def test_memory_is_bounded_and_those_who_try_are_remembered_longest() -> None:
    limits = AttemptLimits(2, 60, "sign in", ManualClock(), most_addresses=2)
    for address in ("a", "b", "a", "c"):
        limits.count(address)
    with pytest.raises(MeshError):
        limits.count("a")
    # It was forgotten, because it had tried the longest time ago.
    limits.count("b")


def test_what_was_no_misuse_counts_no_more() -> None:
    limits = AttemptLimits(3, 60, "sign in", ManualClock())
    for _ in range(3):
        limits.count("a")
    limits.forget("a", 2)
    for _ in range(2):
        limits.count("a")
    with pytest.raises(MeshError):
        limits.count("a")
    limits.forget("a", 5)
    limits.forget("b", 1)
    limits.count("a")


def address(*forwarded: str, proxies: int, remote: str = "203.0.113.9") -> str:
    headers = CIMultiDict(("X-Forwarded-For", line) for line in forwarded)
    request = make_mocked_request("GET", "/", headers=headers)
    return client_address(request.clone(remote=remote), proxies)


def test_only_trusted_proxies_are_believed() -> None:
    assert address("198.51.100.1", proxies=0) == "203.0.113.9"
    assert address("1.1.1.1, 198.51.100.1", proxies=1) == "198.51.100.1"
    assert address("1.1.1.1", "198.51.100.1, 10.0.0.1", proxies=2) == "198.51.100.1"
    # Fewer than there should be: the request did not come through all of them.
    assert address("198.51.100.1", proxies=2) == "203.0.113.9"


def test_a_network_of_ipv6_is_one_client_and_nonsense_is_another() -> None:
    one, other = (address(f"2001:db8::{last}", proxies=1) for last in ("1", "ffff:1"))
    assert one == other == "2001:db8::/64"
    assert address("<script>", proxies=1) == "unknown"
