"""Memory for bodies is bounded, for each account and for all, and always leaves room for others."""

from __future__ import annotations

import pytest

from services.common.errors import Code
from services.edge.http.bodies.memory import BodyMemory, NoMemoryError


def test_what_a_request_holds_is_given_back_however_it_ends() -> None:
    memory = BodyMemory(total=100, per_account=50)

    def fail() -> None:
        with memory.share("a") as share:
            share.take(30)
            share.take(10)
            assert (memory.held, memory.of_account("a")) == (40, 40)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (memory.held, memory.of_account("a")) == (0, 0)


def test_an_account_has_a_bound() -> None:
    memory = BodyMemory(total=1000, per_account=50)
    with memory.share("a") as first, memory.share("a") as second, memory.share("b") as other:
        first.take(40)
        second.take(10)
        with pytest.raises(NoMemoryError) as refusal:
            second.take(1)
        assert (refusal.value.code, refusal.value.retry_after) == (Code.OVERLOADED, 2.0)
        assert "50 bytes" in refusal.value.message
        other.take(50)
    assert memory.held == 0


def test_who_has_no_account_has_the_bound_of_an_address() -> None:
    memory = BodyMemory(total=1000, per_account=50)
    with memory.share("", "198.51.100.1") as first, memory.share("", "198.51.100.2") as second:
        first.take(50)
        with pytest.raises(NoMemoryError):
            first.take(1)
        second.take(50)
        # Nothing else takes it for an account.
        assert first.account_id == ""
    with memory.share("a", "198.51.100.1") as known:
        known.take(5)
        assert memory.of_account("a") == 5
    assert memory.held == 0


def test_no_account_gets_more_than_is_left() -> None:
    memory = BodyMemory(total=120, per_account=1000)
    with memory.share("a") as first, memory.share("b") as second, memory.share("c") as third:
        first.take(60)
        with pytest.raises(NoMemoryError):
            first.take(1)
        second.take(30)
        third.take(15)
        with pytest.raises(NoMemoryError):
            third.take(1)
        # The next one still has room.
        with memory.share("d") as fourth:
            fourth.take(7)


def test_a_body_that_cannot_come_is_refused_before_it_does() -> None:
    memory = BodyMemory(total=100, per_account=50)
    with memory.share("a") as share:
        with pytest.raises(NoMemoryError):
            share.expect(51)
        share.expect(50)
        assert memory.held == 0


def test_only_what_is_kept_counts_on() -> None:
    memory = BodyMemory(total=100, per_account=50)
    with memory.share("a") as share:
        share.take(40)
        share.keep(30)
        assert memory.held == 30
        share.keep(35)
        assert memory.held == 35
        with pytest.raises(NoMemoryError):
            share.keep(51)
