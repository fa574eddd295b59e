from services.common.batch import BatchStream
from services.router.runners.load import PLACEMENT_LIFE, Report
from services.router.service import RouteHandler
from tests.unit.router.world import World
from tiermesh.common.v1 import error_pb2
from tiermesh.router.v1 import router_pb2

FAILED, FULL = router_pb2.Attempt.RESULT_FAILED, router_pb2.Attempt.RESULT_FULL
UNUSED = router_pb2.Attempt.RESULT_UNUSED


def attempt(runner_id: str, result: router_pb2.Attempt.Result.ValueType) -> router_pb2.Attempt:
    return router_pb2.Attempt(runner_id=runner_id, result=result)


def call(call_id: int, *attempts: router_pb2.Attempt, capabilities: tuple[str, ...] = ()) -> router_pb2.RouteCall:
    return router_pb2.RouteCall(
        id=call_id, timeout_ms=5000, model="small", account_id="x", capabilities=capabilities, attempts=attempts
    )


class RecordingSession(BatchStream[router_pb2.RouteReply]):
    """Keeps the replies instead of sending them."""

    def __init__(self) -> None:
        super().__init__(router_pb2.RouteReply, 100)
        self.replies: list[router_pb2.RouteReply] = []

    def reply(self, reply: router_pb2.RouteReply) -> None:
        self.replies.append(reply)


class Edge:
    """A session with the handler, and the replies that it got."""

    def __init__(self, world: World) -> None:
        self.handler = RouteHandler(world.routing, world.table)
        self.stream = RecordingSession()

    def send(self, *calls: router_pb2.RouteCall) -> None:
        self.handler.on_calls(calls, self.stream)

    def replies(self) -> list[router_pb2.RouteReply]:
        """Returns the replies since the last look."""
        replies, self.stream.replies = self.stream.replies, []
        return replies


async def test_a_call_gets_a_runner_and_its_address() -> None:
    world = World()
    edge = Edge(world)
    world.up("a")
    edge.send(call(7), call(8, capabilities=("vision",)))
    placed, refused = edge.replies()
    assert (placed.id, placed.runner_id, placed.address) == (7, "a", "a:1")
    assert (refused.id, refused.error.code) == (8, error_pb2.CODE_UNAVAILABLE)
    assert refused.error.retry_after_ms > 0


async def test_the_prefix_hashes_of_a_call_count() -> None:
    world = World()
    edge = Edge(world)
    for name in "abcdefgh":
        world.up(name)
    turns = [call(1), call(2), call(3)]
    for number, turn in enumerate(turns, start=1):
        turn.prefix_hashes.extend(range(2**64 - 1, 2**64 - 1 - number, -1))
    edge.send(*turns[:2])
    # The load of the turns before is over.
    world.clock.now += PLACEMENT_LIFE
    edge.send(turns[2])
    assert len({reply.runner_id for reply in edge.replies()}) == 1


async def test_a_failed_attempt_ejects_and_is_not_tried_again() -> None:
    world = World()
    edge = Edge(world)
    world.up("a")
    world.up("b")
    edge.send(call(1, attempt("a", FAILED)), call(2))
    assert [reply.runner_id for reply in edge.replies()] == ["b", "b"]
    assert world.runner("a").state == "ejected"


async def test_only_the_last_attempt_is_news() -> None:
    world = World()
    edge = Edge(world)
    world.up("a")
    world.up("b")
    edge.send(call(1, attempt("a", FAILED), attempt("b", FAILED)))
    assert world.runner("a").state == "ready"
    assert world.runner("b").state == "ejected"
    assert [reply.error.code for reply in edge.replies()] == [error_pb2.CODE_UNAVAILABLE]


async def test_a_full_runner_is_tried_again_once_it_has_room_before_the_accounts_others() -> None:
    world = World()
    edge = Edge(world)
    runner = world.up("a", slots=1)
    edge.send(call(1), call(2))
    edge.send(call(3, attempt("a", FULL)))
    assert [reply.id for reply in edge.replies()] == [1]
    world.finish(runner, admitted=0)
    assert [reply.id for reply in edge.replies()] == [3]


async def test_cancelled_calls_and_closed_sessions_leave_the_queue() -> None:
    world = World()
    edge = Edge(world)
    world.up("a", slots=1, active=1)
    edge.send(call(1), call(2))
    edge.handler.on_cancel(1, edge.stream)
    edge.handler.on_cancel(99, edge.stream)
    assert dict(world.routing.depths())["pro"] == 1
    edge.handler.on_close(edge.stream)
    assert dict(world.routing.depths())["pro"] == 0
    assert edge.replies() == []


async def test_an_attempt_can_be_reported_without_asking_for_a_runner() -> None:
    world = World()
    world.up("a")
    edge = Edge(world)
    stalled = attempt("a", router_pb2.Attempt.RESULT_STALLED)
    for _ in range(2):
        edge.send(router_pb2.RouteCall(id=1, attempts=[stalled], report_only=True))
    assert edge.replies() == [router_pb2.RouteReply(id=1)] * 2
    assert world.runner("a").state == "ejected"


async def test_a_request_is_not_placed_again_where_it_made_no_progress() -> None:
    world = World()
    for name in ("a", "b"):
        world.up(name)
    edge = Edge(world)
    edge.send(call(1, attempt("a", router_pb2.Attempt.RESULT_STALLED)))
    world.table.report(world.runner("a"), Report(slots=4, active=0, admitted=1))
    edge.send(call(2, attempt("a", router_pb2.Attempt.RESULT_STALLED), attempt("x", FULL)))
    assert [reply.runner_id for reply in edge.replies()] == ["b", "b"]


async def test_a_call_that_goes_on_after_tokens_gets_a_runner_with_their_vocabulary() -> None:
    world = World()
    for name in ("a", "b", "c"):
        world.up(name, vocabulary="words" if name == "b" else name)
    edge = Edge(world)
    asked = call(1)
    asked.vocabulary = "words"
    edge.send(*[asked] * 4)
    assert [(reply.runner_id, reply.vocabulary) for reply in edge.replies()] == [("b", "words")] * 4
    asked.vocabulary = "other words"
    edge.send(asked)
    (reply,) = edge.replies()
    assert reply.error.code == error_pb2.CODE_UNAVAILABLE


async def test_a_call_that_takes_no_slot_is_placed_on_a_full_runner() -> None:
    world = World()
    edge = Edge(world)
    world.up("a", slots=1, active=1)
    free = call(1)
    free.slotless = True
    edge.send(call(2), free)
    assert [(reply.id, reply.runner_id) for reply in edge.replies()] == [(1, "a")]


async def test_a_place_that_is_given_back_goes_to_who_waits_for_one() -> None:
    world = World()
    edge = Edge(world)
    world.up("a", slots=1)
    edge.send(call(1), call(2))
    assert [(reply.id, reply.runner_id) for reply in edge.replies()] == [(1, "a")]
    unused = call(3, attempt("a", UNUSED))
    unused.report_only = True
    edge.send(unused)
    assert sorted((reply.id, reply.runner_id) for reply in edge.replies()) == [(2, "a"), (3, "")]
    # Nothing was wrong with the runner, and one that has left is not missed.
    unused = call(4, attempt("gone", UNUSED))
    unused.report_only = True
    edge.send(unused)
    assert [reply.HasField("error") for reply in edge.replies()] == [False]
    world.clock.now += PLACEMENT_LIFE
    edge.send(call(5))
    assert [reply.runner_id for reply in edge.replies()] == ["a"]
