"""Ids of requests begin with the time and are drawn apart."""

from __future__ import annotations

import re
from functools import partial

from services.edge.context import RequestIds


def test_an_id_begins_with_the_time() -> None:
    requests = RequestIds(1, clock=lambda: 1_800_000_000.123)
    first, second = requests.new(), requests.new()
    assert int(first.removeprefix("req_")[:12], 16) == 1_800_000_000_123
    assert first[:16] == second[:16]
    assert first != second


def test_ids_look_as_they_always_did() -> None:
    for seconds in 0.0, 1_800_000_000.0, 2.0**60:
        assert re.fullmatch(r"req_[0-9a-f]{32}", RequestIds(1, clock=partial(float, seconds)).new())


def test_processes_draw_different_ids_at_the_same_moment() -> None:
    drawn = {RequestIds(clock=lambda: 5.0).new() for _ in range(100)}
    assert len(drawn) == 100


def test_a_clock_that_goes_back_repeats_no_id() -> None:
    times = iter([5.0, 4.0, 5.0, 4.0])
    requests = RequestIds(clock=lambda: next(times))
    ids = [requests.new() for _ in range(4)]
    assert len(set(ids)) == 4
    assert ids != sorted(ids)
