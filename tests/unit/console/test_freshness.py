from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from services.console.freshness import FORM_SECONDS, Freshness
from services.console.visit import Visit
from tests.unit.auth.manual_clock import START, ManualClock
from tiermesh.auth.v1 import auth_pb2

SECONDS = 300.0


def visit(method: str) -> Visit:
    session = auth_pb2.Session(confirmed_at_ms=int(START * 1000))
    return Visit(make_mocked_request(method, "/keys/new"), "token", session)


@pytest.mark.parametrize(("method", "allowed"), [("GET", SECONDS), ("POST", SECONDS + FORM_SECONDS)])
def test_after_a_while_the_key_must_be_shown_once_more(method: str, allowed: float) -> None:
    clock = ManualClock()
    freshness = Freshness(SECONDS, clock)
    clock.advance(allowed)
    freshness.demand(visit(method), "/keys/new")
    clock.advance(0.01)
    with pytest.raises(web.HTTPSeeOther) as caught:
        freshness.demand(visit(method), "/keys/new")
    assert caught.value.location == "/confirm?next=/keys/new"
