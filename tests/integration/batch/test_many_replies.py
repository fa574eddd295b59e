"""Calls with many replies: each call's replies arrive in order, whole, and end with the last."""

from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY

from services.common.errors import Code, MeshError
from tests.support.batch_tokens import Answer, TokenServer, count_to, token_client
from tests.support.waiting import eventually


def received(metric: str, stream: str) -> float:
    labels = {"stream": stream, "direction": "received"}
    return REGISTRY.get_sample_value(f"tiermesh_batch_{metric}", labels) or 0.0


async def test_replies_of_each_call_arrive_in_order() -> None:
    lengths = [1 + number % 40 for number in range(200)]
    async with TokenServer() as server, token_client(server.address) as client, asyncio.TaskGroup() as group:
        engine = group.create_task(server.run())
        answers = [Answer() for _ in lengths]
        for answer, length in zip(answers, lengths, strict=True):
            client.start(count_to(length), answer, 20.0)
        for answer, length in zip(answers, lengths, strict=True):
            await answer.ended.wait()
            assert answer.numbers == list(range(length))
            assert len(answer.ends) == 1
        engine.cancel()
        assert client.pending == 0


async def test_one_step_of_all_calls_is_one_frame() -> None:
    async with TokenServer() as server, token_client(server.address, name="steps") as client:
        answers = [Answer() for _ in range(32)]
        for answer in answers:
            client.start(count_to(3), answer, 5.0)
        await eventually(lambda: len(server.handler.running) == 32)
        for step in (1, 2, 3):
            server.handler.step()
            await eventually(lambda step=step: all(len(answer.numbers) == step for answer in answers))  # type: ignore[misc] # mypy cannot infer a loop variable's default
        assert received("frames_total", "steps") == 3
        assert received("items_total", "steps") == 96


async def test_replies_after_the_last_are_not_delivered() -> None:
    async with TokenServer() as server, token_client(server.address) as client:
        answer = Answer()
        call_id = client.start(count_to(1), answer, 5.0)
        await eventually(lambda: bool(server.handler.running))
        (stream, _) = next(iter(server.handler.running))
        server.handler.step()
        stream.reply_error(call_id, MeshError(Code.INTERNAL, "this comes too late"))
        # Another call on the stream shows that the frame with the late reply has been read.
        after = Answer()
        client.start(count_to(1), after, 5.0)
        await eventually(lambda: bool(server.handler.running))
        server.handler.step()
        await after.ended.wait()
        assert (answer.numbers, len(answer.ends)) == ([0], 1)


async def test_an_error_of_one_call_ends_only_that_call() -> None:
    async with TokenServer() as server, token_client(server.address) as client:
        failing, other = Answer(), Answer()
        call_id = client.start(count_to(2), failing, 5.0)
        client.start(count_to(2), other, 5.0)
        await eventually(lambda: len(server.handler.running) == 2)
        server.handler.step()
        (stream, _) = next(iter(server.handler.running))
        del server.handler.running[stream, call_id]
        stream.reply_error(call_id, MeshError(Code.OVERLOADED, "no free slot"))
        server.handler.step()
        await failing.ended.wait()
        await other.ended.wait()
        assert MeshError.from_proto(failing.ends[0].error).code is Code.OVERLOADED
        assert (failing.numbers, other.numbers) == ([0], [0, 1])


async def test_a_break_in_the_middle_is_told_at_once_and_nothing_is_replayed() -> None:
    async with TokenServer() as server, token_client(server.address) as client:
        answer = Answer()
        client.start(count_to(100), answer, 30.0)
        await eventually(lambda: bool(server.handler.running))
        server.handler.step()
        await eventually(lambda: answer.numbers == [0])
        await server.stop(seconds=0.0)
        await answer.ended.wait()
        assert answer.ends[0].code is Code.UNAVAILABLE
        async with TokenServer(server.address) as successor:
            await eventually(lambda: client.connected)
            assert not successor.handler.running
        assert (answer.numbers, len(answer.ends)) == ([0], 1)
