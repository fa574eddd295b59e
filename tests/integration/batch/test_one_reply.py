"""Calls with one reply each: every caller gets its own answer, and callers share frames."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from services.common.batch import BatchClient
from services.common.batch.frames import MAX_FRAME_ITEMS
from services.common.errors import Code, MeshError
from tests.support.batch_echo import EchoClient, EchoServer, ask, echo_client
from tests.support.waiting import eventually


def sample(metric: str, stream: str, direction: str = "") -> float:
    labels = {"stream": stream} | ({"direction": direction} if direction else {})
    return REGISTRY.get_sample_value(f"tiermesh_batch_{metric}", labels) or 0.0


async def all_answers(client: EchoClient, texts: list[str]) -> list[str]:
    replies = await asyncio.gather(*(client.request(ask(text), 5.0) for text in texts))
    return [reply.account_id for reply in replies]


async def test_each_caller_gets_its_own_answer() -> None:
    texts = [f"caller {number}" for number in range(1000)]
    async with EchoServer() as server, echo_client(server.address) as client:
        assert await all_answers(client, texts) == texts
        assert client.pending == 0


async def test_calls_of_one_turn_travel_in_one_frame() -> None:
    texts = [f"caller {number}" for number in range(100)]
    async with EchoServer() as server, echo_client(server.address, name="one-frame") as client:
        await client.request(ask("connect"), 5.0)
        server.handler.frames.clear()
        frames = sample("frames_total", "one-frame", "sent")
        answered = sample("frames_total", "one-frame", "received")
        assert await all_answers(client, texts) == texts
        assert server.handler.frames == [100]
        assert sample("frames_total", "one-frame", "sent") - frames == 1
        assert sample("frames_total", "one-frame", "received") - answered == 1
        assert sample("items_total", "one-frame", "received") == 101


async def test_an_idle_client_sends_at_once_and_alone() -> None:
    async with EchoServer() as server, echo_client(server.address) as client:
        for number in range(5):
            await client.request(ask(f"call {number}"), 5.0)
        assert server.handler.frames == [1] * 5


async def test_a_burst_is_cut_into_frames_in_order() -> None:
    texts = [str(number) for number in range(3 * MAX_FRAME_ITEMS + 1)]
    async with EchoServer() as server, echo_client(server.address) as client:
        assert await all_answers(client, texts) == texts
        assert server.handler.frames == [MAX_FRAME_ITEMS] * 3 + [1]
        assert server.handler.texts == texts


async def test_the_server_is_told_how_long_the_caller_waits() -> None:
    async with EchoServer() as server, echo_client(server.address) as client:
        await client.request(ask("patient"), 5.0)
        assert 1000 < server.handler.timeouts_ms[0] <= 5000


async def test_frames_may_be_larger_than_what_grpc_allows_by_default() -> None:
    text = "x" * 6_000_000
    async with EchoServer() as server, echo_client(server.address) as client:
        assert await all_answers(client, [text, "small"]) == [text, "small"]


async def test_calls_before_the_server_is_there_wait_for_it() -> None:
    server = EchoServer()
    async with echo_client(server.address) as client:
        assert not client.connected
        answer = asyncio.create_task(client.request(ask("early"), 10.0))
        await eventually(lambda: client.pending == 1)
        async with server:
            assert (await answer).account_id == "early"
            assert client.connected


async def test_too_many_pending_calls_are_refused_at_once() -> None:
    async with EchoServer() as server, echo_client(server.address, max_pending=3) as client:
        ids = [client.start(ask("hold"), lambda _: None, 5.0) for _ in range(3)]
        with pytest.raises(MeshError) as caught:
            client.start(ask("one more"), lambda _: None, 5.0)
        assert (caught.value.code, caught.value.retry_after) == (Code.UNAVAILABLE, 1.0)
        client.cancel(ids[0])
        assert (await client.request(ask("there is room again"), 5.0)).account_id == "there is room again"


async def test_pending_calls_of_clients_with_one_name_are_counted_together() -> None:
    async with EchoServer() as server, echo_client(server.address, name="pair") as first:
        async with echo_client(server.address, name="pair") as second:
            for client in (first, second, second):
                client.start(ask("hold"), lambda _: None, 5.0)
            assert sample("pending", "pair") == 3
        assert sample("pending", "pair") == 1


def test_calls_of_many_replies_cannot_be_retried() -> None:
    with pytest.raises(ValueError, match="cannot be retried"):
        BatchClient(
            "echo",
            ["127.0.0.1:1"],
            open_channel=lambda _: pytest.fail("nothing is opened"),
            open_stream=lambda _: None,
            new_frame=lambda **_: pytest.fail("nothing is sent"),
            retry=True,
            is_last=lambda _: False,
        )


def test_a_client_needs_an_address() -> None:
    with pytest.raises(ValueError, match="at least one address"):
        BatchClient(
            "echo",
            [],
            open_channel=lambda _: pytest.fail("nothing is opened"),
            open_stream=lambda _: None,
            new_frame=lambda **_: pytest.fail("nothing is sent"),
            retry=True,
        )
