"""Conversations: what a server's refusals and silences mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from services.common.errors import Code, MeshError
from services.runner.engines.upstream.kinds.base import Upstream
from services.runner.engines.upstream.kinds.chat import ChatServerEngine
from services.runner.kinds.conversation.job import ConversationJob
from services.runner.kinds.text.job import Sampling
from tests.support.job_recording import RecordedJob
from tests.support.recorded_server import Answer, RecordedServer, refusal
from tests.unit.runner.engines.upstream.kinds.servers import SERVERS
from tests.unit.runner.engines.upstream.recordings import TOO_LONG

PATH = "/v1/chat/completions"
# Words of a server that nobody but its operator may see.
SECRETS = {"error": {"message": "http://10.0.0.7:8000 refuses sk-secret"}}


@asynccontextmanager
async def running(answer: Answer) -> AsyncIterator[tuple[RecordedServer, ChatServerEngine]]:
    async with RecordedServer(SERVERS["another"] | {PATH: answer}) as recorded:
        engine = ChatServerEngine(Upstream(url=recorded.url, key="sk-secret"), slots=4, context=2048)
        await engine.start()
        yield recorded, engine
        await engine.close()


def job(**fields: Any) -> ConversationJob:
    return ConversationJob("request", [{"role": "user", "content": "Hello"}], Sampling(), **fields)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Code.INVALID_REQUEST),
        (413, Code.INVALID_REQUEST),
        (422, Code.INVALID_REQUEST),
        (401, Code.UNAVAILABLE),
        (404, Code.UNAVAILABLE),
        (429, Code.OVERLOADED),
        (500, Code.UNAVAILABLE),
        (503, Code.OVERLOADED),
        (302, Code.UNAVAILABLE),
    ],
)
async def test_the_words_of_a_server_reach_nobody(status: int, code: Code) -> None:
    async with running(refusal(status, SECRETS)) as (_, engine):
        with pytest.raises(MeshError) as refused:
            await RecordedJob(engine, job()).end()
    assert refused.value.code is code
    assert "secret" not in refused.value.message
    assert "10.0.0.7" not in refused.value.message


@pytest.mark.parametrize("status", [200, 400, 422, 500])
@pytest.mark.parametrize("server", TOO_LONG)
async def test_a_prompt_that_is_too_long_is_the_clients_mistake_however_it_is_said(server: str, status: int) -> None:
    said = TOO_LONG[server] if status != 200 else b"event: error\ndata: " + TOO_LONG[server] + b"\n\n"
    async with running(web.Response(status=status, body=said)) as (_, engine):
        with pytest.raises(MeshError) as refused:
            await RecordedJob(engine, job()).end()
    assert refused.value.code is Code.CONTEXT_LENGTH_EXCEEDED
    assert "your messages resulted in 3010 tokens" in refused.value.message


async def test_a_server_that_answers_and_says_nothing_of_a_job_makes_no_progress() -> None:
    silent = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b": a comment\n\n")
        silent.set()
        await asyncio.Event().wait()
        return response

    async with running(answer) as (_, engine):
        running_job = RecordedJob(engine, job())
        await silent.wait()
        engine.seen()
        assert running_job.ticket.progress == 0
        running_job.ticket.cancel()
