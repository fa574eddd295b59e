"""What comes alone is sent at once; while the loop is behind, what comes in a few turns of it leaves in one write."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from services.edge.http.event_stream import EventStream
from services.edge.http.gathering import MOST_TURNS, QUIET_TURNS, Gathering
from tests.support.deadlines import within
from tests.support.waiting import eventually
from tests.unit.edge.http.test_event_stream import Serve, start
from tests.unit.edge.http.test_event_stream import ask as send

__all__ = ["start"]
Ask = Callable[[Serve], Awaitable[bytes]]


@pytest.fixture
def ask(start: Callable[[Serve], Awaitable[int]]) -> Ask:
    """Serves one handler and returns the body that it sends to a client of HTTP/1.0, which gets no chunks."""

    async def ask(serve: Serve) -> bytes:
        reader, writer = await send(await start(serve), b"GET / HTTP/1.0\r\n\r\n")
        async with within(20):
            _, body = (await reader.read()).split(b"\r\n\r\n", 1)
        writer.close()
        return body

    return ask


async def opened(request: web.Request, gathering: Gathering, sent: list[bytes]) -> EventStream:
    """Returns a stream that has begun; each write to its socket is added to the list."""
    stream = EventStream(
        request, {}, max_unread_bytes=1 << 20, keep_alive_seconds=60, note=sent.append, gathering=gathering
    )
    await stream.open(b"data: open\n\n")
    sent.clear()
    return stream


async def fall_behind(gathering: Gathering, stream: EventStream) -> None:
    """Writes again and again, until what comes waits."""
    async with within(20):
        while not gathering.waits:
            stream.write(b"data: busy\n\n")
            await asyncio.sleep(0)


async def test_what_comes_alone_is_sent_at_once(ask: Ask) -> None:
    sent: list[bytes] = []
    gathering = Gathering()

    async def serve(request: web.Request) -> web.StreamResponse:
        stream = await opened(request, gathering, sent)
        for _ in range(5):
            await eventually(lambda: not gathering.waits)
            for event in (b"data: one\n\n", b"data: two\n\n"):
                stream.write(event)
                assert sent.pop() == event
        await stream.close(b"data: end\n\n")
        return stream.response

    assert (await ask(serve)).count(b"data: ") == 12
    assert sent == []


async def test_what_comes_while_the_loop_is_behind_leaves_in_one_write(ask: Ask) -> None:
    sent: list[bytes] = []
    gathering = Gathering()

    async def serve(request: web.Request) -> web.StreamResponse:
        stream = await opened(request, gathering, sent)
        await fall_behind(gathering, stream)
        sent.clear()
        for number in range(MOST_TURNS // 2):
            stream.write(b"data: %d\n\n" % number)
            # Even a turn without anything new ends nothing.
            await asyncio.sleep(0)
            if number % 3 == 0:
                await asyncio.sleep(0)
        assert sent == []
        # A loop that is not behind takes the turns that end it at once.
        for _ in range(QUIET_TURNS + 1):
            await asyncio.sleep(0)
        assert sent == [b"".join(b"data: %d\n\n" % number for number in range(MOST_TURNS // 2))]
        assert not gathering.waits
        await stream.close(b"data: end\n\n")
        return stream.response

    await ask(serve)


async def test_nothing_waits_for_more_than_a_few_turns(ask: Ask) -> None:
    sent: list[bytes] = []
    gathering = Gathering()
    turns = 10 * MOST_TURNS

    async def serve(request: web.Request) -> web.StreamResponse:
        stream = await opened(request, gathering, sent)
        await fall_behind(gathering, stream)
        for turn in range(turns):
            stream.write(b"data: %d\n\n" % turn)
            await asyncio.sleep(0)
            if turn >= MOST_TURNS:
                assert b"data: %d\n\n" % (turn - MOST_TURNS) in b"".join(sent)
        await stream.close(b"data: end\n\n")
        return stream.response

    await ask(serve)
    assert len(sent) < 2 * turns / MOST_TURNS + MOST_TURNS


@pytest.mark.parametrize("seed", range(5))
async def test_every_client_gets_its_own_events_in_their_order(ask: Ask, seed: int) -> None:
    """Streams that share a gathering write at random, in the same turns or in later ones, and end at any time."""
    gathering = Gathering()
    drawn = random.Random(seed)

    async def read_one(name: int) -> None:
        sent: list[bytes] = []
        events = [b"data: %d.%d\n\n" % (name, number) for number in range(drawn.randrange(60))]

        async def serve(request: web.Request) -> web.StreamResponse:
            stream = await opened(request, gathering, sent)
            for event in events:
                stream.write(event)
                for _ in range(drawn.choice([0, 0, 1, 1, 1, 2, 3, 5])):
                    await asyncio.sleep(0)
            await stream.close(b"data: end\n\n")
            return stream.response

        assert await ask(serve) == b"data: open\n\n" + b"".join(events) + b"data: end\n\n"
        # What was noted for a receipt, piece by piece.
        assert b"".join(sent) == b"".join(events)

    async with asyncio.TaskGroup() as group:
        for name in range(8):
            group.create_task(read_one(name))
    await eventually(lambda: not gathering.waits)


async def test_a_stream_that_cannot_be_flushed_holds_up_no_other(ask: Ask) -> None:
    sent: list[bytes] = []
    gathering = Gathering()

    class Broken:
        def flush(self) -> None:
            raise RuntimeError("broken")

    async def serve(request: web.Request) -> web.StreamResponse:
        stream = await opened(request, gathering, sent)
        await fall_behind(gathering, stream)
        sent.clear()
        gathering.add(Broken())
        stream.write(b"data: one\n\n")
        await eventually(lambda: sent == [b"data: one\n\n"] and not gathering.waits)
        await stream.close(b"data: end\n\n")
        return stream.response

    await ask(serve)
