"""The price is held and the runner is found at once: whatever fails meanwhile, no money and no slot stays taken."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp.test_utils import make_mocked_request

from services.common.catalog import load_catalog
from services.common.errors import Code, MeshError
from services.common.settings import DEFAULT_CATALOG
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.paid.hold import BillingBatch, BillingClient
from services.edge.paid.path import Mesh, Order, PaidPath
from services.edge.paid.progress import ProgressWatch
from services.edge.paid.routing import AvailableModels, Placer, RouterBatch
from services.edge.paid.runners import RunnerPool
from services.edge.settings import EdgeSettings
from tests.support.waiting import eventually
from tests.unit.edge.backend import MODEL, Backend
from tiermesh.billing.v1 import billing_pb2
from tiermesh.router.v1 import router_pb2
from tiermesh.runner.v1 import runner_pb2

# What billing and the router answer: a code of an error, or None for what is asked for.
PAYS = [None, Code.INSUFFICIENT_CREDITS, Code.CONFLICT, Code.UNAVAILABLE]
PLACES = [None, Code.UNAVAILABLE, Code.OVERLOADED]
# When the client leaves: never, before either has answered, or between the two answers.
LEAVES = ["never", "first", "between"]


class World(Backend):
    """Billing, the router and a runner behind one edge. A hold is there from the call on, as if its reply were late."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.pays: asyncio.Future[Code | None] = asyncio.get_running_loop().create_future()
        self.places: asyncio.Future[Code | None] = asyncio.get_running_loop().create_future()
        # Milliseconds that a place was waited for.
        self.waited_ms = 0
        self.available = True
        # Holds and places that are taken, and generations that have begun.
        self.held = self.placed = self.started = 0
        billing = BillingClient(
            cast("BillingBatch", Caller(self._transact)), reserve_timeout=1, settle_timeout=1, release_timeout=1
        )
        mesh = Mesh(
            catalog=load_catalog(Path(DEFAULT_CATALOG)),
            available_models=cast("AvailableModels", self),
            placer=Placer(cast("RouterBatch", Caller(self._route))),
            billing=billing,
            runners=cast("RunnerPool", self),
            progress=ProgressWatch(time.monotonic),
        )
        # Seconds, as the edge's clock tells them.
        self.now = 0.0
        self.path = PaidPath(mesh, EdgeSettings(), lambda: self.now)
        self.context = RequestContext("req_1", self.now)

    async def open(self, *, keyed: bool = False) -> None:
        """Brings one request to the point where its answer is awaited."""
        headers = {"Idempotency-Key": "k"} if keyed else {}
        self.context = RequestContext("req_1", self.now)
        order = Order(
            request=make_mocked_request("POST", "/v1/chat/completions", headers),
            context=self.context,
            principal=Principal("key", "account"),
            model=MODEL,
            calls=[runner_pb2.GenerateCall(request_id="req_1")],
        )
        await self.path.open(order).__aenter__()

    def answer_again(self) -> None:
        """Lets the next request wait for answers of its own."""
        self.asked.clear()
        self.pays = asyncio.get_running_loop().create_future()
        self.places = asyncio.get_running_loop().create_future()

    async def _transact(self, call: billing_pb2.TransactCall) -> billing_pb2.TransactReply:
        if call.HasField("settle"):
            self.held -= 1
            return billing_pb2.TransactReply()
        self.asked.append("pay")
        self.held += 1
        if (code := await self.pays) is None:
            return billing_pb2.TransactReply(amount=10, available=90)
        if code is not Code.UNAVAILABLE:
            self.held -= 1
        return billing_pb2.TransactReply(error=MeshError(code, "no").to_proto())

    async def _route(self, call: router_pb2.RouteCall) -> router_pb2.RouteReply:
        if call.report_only:
            assert [attempt.result for attempt in call.attempts] == [router_pb2.Attempt.RESULT_UNUSED]
            self.placed -= 1
            return router_pb2.RouteReply()
        self.asked.append("place")
        if (code := await self.places) is not None:
            return router_pb2.RouteReply(error=MeshError(code, "no").to_proto())
        self.placed += 1
        return router_pb2.RouteReply(runner_id="r", address="a", waited_ms=self.waited_ms)

    def __getitem__(self, _model: str) -> bool:
        return self.available

    def has_choice(self, _model: str) -> bool:
        return False

    def start(self, _call: object, _sink: Callable[[Any], None], _timeout: float) -> int:
        self.started += 1
        return 1


class Caller:
    """Stands where a batch client does."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer

    async def request(self, call: Any, _timeout: float) -> Any:
        return await self._answer(call)


async def turns() -> None:
    """Lets everything happen that needs no further answer."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("pays", PAYS)
async def test_nothing_stays_taken_unless_both_have_come(pays: Code | None, places: Code | None) -> None:
    for pay_first, leaves, keyed in itertools.product([True, False], LEAVES, [True, False]):
        world = World()
        case = f"{pays=} {places=} {pay_first=} {leaves=} {keyed=}"
        asking = asyncio.create_task(world.open(keyed=keyed))
        await turns()
        assert sorted(world.asked) == ["pay", "place"], case
        if leaves == "first":
            asking.cancel()
        await turns()
        answers = [(world.pays, pays), (world.places, places)]
        for future, code in answers if pay_first else answers[::-1]:
            if not future.done():
                future.set_result(code)
            await turns()
            if leaves == "between":
                asking.cancel()
                await turns()
        outcome = (await asyncio.gather(asking, return_exceptions=True))[0]
        await turns()
        refusal = pays or places
        if leaves == "never":
            assert (outcome.code if isinstance(outcome, MeshError) else None) == refusal, case
        served = outcome is None
        assert served == (refusal is None and leaves == "never"), case
        assert (world.started, world.held, world.placed) == ((1, 1, 1) if served else (0, 0, 0)), case
        # What is counted as the router's refusal is one.
        if leaves == "never":
            assert world.context.placing == (pays is None and places is not None), case


@pytest.mark.parametrize("keyed", [True, False])
async def test_a_refusal_to_pay_waits_for_no_slot(keyed: bool) -> None:
    world = World()
    asking = asyncio.create_task(world.open(keyed=keyed))
    await turns()
    world.pays.set_result(Code.CONFLICT)
    with pytest.raises(MeshError) as caught:
        await asking
    assert caught.value.code is Code.CONFLICT
    # The queue is left, too.
    await eventually(world.places.cancelled)
    assert (world.held, world.placed) == (0, 0)


async def test_what_waits_for_a_slot_holds_no_money_once_it_is_known_that_one_waits() -> None:
    world = World()
    first = asyncio.create_task(world.open())
    await turns()
    world.pays.set_result(None)
    await turns()
    # It is not known until now that there is no slot.
    assert (world.asked, world.held) == (["pay", "place"], 1)
    places = world.places
    world.answer_again()
    second = asyncio.create_task(world.open())
    await turns()
    assert (world.asked, world.held) == (["place"], 1)
    world.waited_ms = 300
    places.set_result(None)
    await first
    world.places.set_result(None)
    await turns()
    assert (world.asked, world.held) == (["place", "pay"], 2)
    world.pays.set_result(None)
    await second
    # This one has a slot at once, so that the next one need not be careful.
    for asked in (["place", "pay"], ["pay", "place"]):
        world.answer_again()
        world.waited_ms = 0
        world.pays.set_result(None)
        world.places.set_result(None)
        await world.open()
        assert world.asked == asked


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("pays", PAYS)
async def test_nothing_stays_taken_where_requests_wait(pays: Code | None, places: Code | None) -> None:
    for leaves, keyed in itertools.product(LEAVES, [True, False]):
        world = World()
        world.available = False
        case = f"{pays=} {places=} {leaves=} {keyed=}"
        asking = asyncio.create_task(world.open(keyed=keyed))
        await turns()
        # One after the other: a place before the price, unless a repeat is to be told so first.
        answers = [("pay", world.pays, pays), ("place", world.places, places)]
        (first, one, code), (second, other, later) = answers if keyed else answers[::-1]
        assert world.asked == [first], case
        if leaves == "first":
            asking.cancel()
        else:
            one.set_result(code)
        await turns()
        assert world.asked == ([first, second] if leaves != "first" and code is None else [first]), case
        if leaves == "between":
            asking.cancel()
        elif not other.done():
            other.set_result(later)
        outcome = (await asyncio.gather(asking, return_exceptions=True))[0]
        await turns()
        if leaves == "never":
            assert (outcome.code if isinstance(outcome, MeshError) else None) == (code or later), case
        served = outcome is None
        assert served == (pays is None and places is None and leaves == "never"), case
        assert (world.started, world.held, world.placed) == ((1, 1, 1) if served else (0, 0, 0)), case


async def test_a_repeat_is_told_so_before_it_asks_for_a_slot_that_others_wait_for() -> None:
    world = World()
    world.available = False
    asking = asyncio.create_task(world.open(keyed=True))
    await turns()
    assert world.asked == ["pay"]
    world.pays.set_result(Code.CONFLICT)
    with pytest.raises(MeshError):
        await asking
    assert world.asked == ["pay"]


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.OVERLOADED])
async def test_a_tier_that_refuses_requests_costs_no_holds(code: Code) -> None:
    world = World()
    world.pays.set_result(None)
    world.places.set_result(code)
    for asked in (["pay", "place"], ["place"], ["place"]):
        world.asked.clear()
        with pytest.raises(MeshError):
            await world.open()
        assert world.asked == asked
    await turns()
    assert world.held == 0


async def test_a_tier_without_a_runner_is_asked_before_billing() -> None:
    world = World()
    world.available = False
    world.places.set_result(Code.UNAVAILABLE)
    with pytest.raises(MeshError):
        await world.open()
    assert world.asked == ["place"]


async def test_an_edge_that_stops_gives_everything_back() -> None:
    for paid in (True, False):
        world = World()
        asking = asyncio.create_task(world.open())
        await turns()
        (world.pays if paid else world.places).set_result(None)
        await turns()
        world.path.cut_off.now()
        with pytest.raises(MeshError, match="restarted"):
            await asking
        await eventually(lambda: (world.held, world.placed) == (0, 0))  # noqa: B023 - awaited here
        assert world.started == 0


@pytest.mark.parametrize(
    ("available", "paid_at", "placed_at", "waited", "overhead"),
    [
        (True, 3.0, 2.0, 0.0, 3.0),
        (True, 2.0, 3.0, 0.0, 3.0),
        # Waiting for a slot is no overhead: finding this one took a second, while the price was held.
        (True, 2.0, 10.0, 9.0, 2.0),
        (True, 2.0, 10.0, 7.0, 3.0),
        # One after the other.
        (False, 5.0, 2.0, 0.0, 5.0),
        (False, 5.0, 4.0, 3.0, 2.0),
    ],
)
async def test_what_two_stages_take_at_the_same_time_counts_once(
    available: bool, paid_at: float, placed_at: float, waited: float, overhead: float
) -> None:
    world = World()
    world.available, world.waited_ms = available, int(waited * 1000)
    asking = asyncio.create_task(world.open())
    await turns()
    for moment, future in sorted([(paid_at, world.pays), (placed_at, world.places)], key=lambda each: each[0]):
        world.now = moment
        future.set_result(None)
        await turns()
    await asking
    assert world.context.overhead == pytest.approx(overhead)
