"""What is found out about each kind of server, from one on loopback that answers in its form."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.settings import SettingsError
from services.runner.engines.base import NotReadyError
from services.runner.engines.upstream.kinds.base import Upstream
from services.runner.engines.upstream.kinds.chat import ChatServerEngine
from services.runner.engines.upstream.quirks import UNKNOWN
from services.runner.engines.upstream.server import UpstreamServer, find_server
from services.runner.kinds.conversation.job import ConversationJob, ConversationStep
from services.runner.kinds.text.job import Sampling
from tests.support.waiting import eventually
from tests.unit.runner.engines.upstream.listings import MODEL, SERVERS, listed
from tests.unit.runner.engines.upstream.recordings import DONE, HELLO, TOO_LONG, chunk

Missing = Callable[[web.Request], web.Response]


def not_found(request: web.Request) -> web.Response:
    return web.json_response({"detail": f"Not Found: {request.path}"}, status=404)


def nothing_but_ok(request: web.Request) -> web.Response:
    """LM Studio answers so for what it does not know."""
    return web.json_response({"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})


@asynccontextmanager
async def serving(
    documents: Mapping[str, Any], missing: Missing = not_found, stream: bytes = b""
) -> AsyncIterator[str]:
    """Serves documents by path, and one stream for all conversations."""

    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            return web.Response(body=stream, content_type="text/event-stream")
        return web.json_response(documents[request.path]) if request.path in documents else missing(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def find(server: AbstractAsyncContextManager[str], model: str = "") -> UpstreamServer:
    async with server as url, aiohttp.ClientSession() as session:
        return await find_server(session, url, model)


@pytest.mark.parametrize(
    ("server", "name", "context", "slots"),
    [
        ("llama.cpp", "llama.cpp", 2048, 2),
        ("vLLM", "vLLM", 2048, 0),
        ("SGLang", "SGLang", 2048, 0),
        ("TabbyAPI", "TabbyAPI", 2048, 2),
        ("Ollama", "Ollama", 4096, 0),
        ("Ollama, not loaded", "Ollama", 0, 0),
        ("LM Studio", "LM Studio", 4096, 4),
        ("another", UNKNOWN.name, 1024, 0),
        ("odd owner", UNKNOWN.name, 0, 0),
    ],
)
@pytest.mark.parametrize("missing", [not_found, nothing_but_ok])
async def test_each_kind_is_known_by_what_it_tells(
    server: str, name: str, context: int, slots: int, missing: Missing
) -> None:
    found = await find(serving(SERVERS[server], missing), MODEL if server == "LM Studio" else "")
    assert (found.quirks.name, found.context, found.slots) == (name, context, slots)


@pytest.mark.parametrize(
    ("model", "context", "thinking"), [(MODEL, 4096, "never"), (f"{MODEL}:2", 4096, "never"), ("thinker", 0, "always")]
)
async def test_what_lm_studio_tells_of_a_model(model: str, context: int, thinking: str) -> None:
    """A name may be the model's or its instance's. One that is not loaded has no context yet."""
    found = await find(serving(SERVERS["LM Studio"]), model)
    assert (found.model, found.context, found.thinking) == (model, context, thinking)


async def test_a_chat_template_says_whether_functions_are_shown() -> None:
    assert not (await find(serving(SERVERS["TabbyAPI"]))).tools
    assert (await find(serving(SERVERS["llama.cpp"]))).tools


@pytest.mark.parametrize("server", ["llama.cpp", "TabbyAPI"])
@pytest.mark.parametrize("missing", [not_found, nothing_but_ok])
async def test_a_server_that_keeps_to_itself_what_its_kind_tells_is_not_used(server: str, missing: Missing) -> None:
    documents = {"/v1/models": SERVERS[server]["/v1/models"]}
    if missing is nothing_but_ok:
        documents["/props"] = {"default_generation_settings": None}
    with pytest.raises(SettingsError, match=re.escape("/props with")):
        await find(serving(documents, missing))


async def test_a_list_without_a_model_is_no_server() -> None:
    with pytest.raises(SettingsError, match="lists no model"):
        await find(serving({"/v1/models": listed({"name": "no id"})}))


async def ended(
    stream: bytes, server: str = "vLLM", scopes: Sequence[str] = ("",)
) -> list[ConversationStep | MeshError]:
    """Returns what comes of a conversation whose answer is this stream: the last one of several, one for each scope."""
    steps: list[ConversationStep | MeshError] = []
    async with serving(SERVERS[server], stream=stream) as url:
        engine = ChatServerEngine(Upstream(url=url), slots=4, context=2048)
        await engine.start()
        for scope in scopes:
            steps.clear()
            job = ConversationJob("request", [], Sampling(temperature=1, top_p=1), cache_scope=scope)
            engine.submit(job, steps.append)
            await eventually(lambda: engine.active == 0, 10)
        await engine.close()
    return steps


@pytest.mark.parametrize(
    ("server", "scopes", "cached"),
    [
        ("vLLM", ("one", "other"), 8),
        ("TabbyAPI", ("one", "one"), 8),
        ("TabbyAPI", ("one", "other"), 0),
    ],
)
async def test_cached_tokens_are_told_to_the_account_that_has_sent_them(
    server: str, scopes: Sequence[str], cached: int
) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 8}}
    *_, last = await ended(HELLO + chunk({}, "stop") + chunk(usage=usage) + DONE, server, scopes)
    assert isinstance(last, ConversationStep)
    assert last.usage is not None
    assert last.usage.cached_tokens == cached


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_server_that_loads_its_model_is_not_ready(status: int) -> None:
    with pytest.raises(NotReadyError, match=f"is not ready \\(status {status}\\); wait until it is"):
        await find(serving({}, lambda request: web.json_response({}, status=status)))


async def test_a_prompt_that_is_too_long_may_be_refused_with_status_200() -> None:
    """As LM Studio was reported to do."""
    (error,) = await ended(b"event: error\ndata: " + TOO_LONG["lm studio"] + b"\n\n")
    assert isinstance(error, MeshError)
    assert error.code is Code.CONTEXT_LENGTH_EXCEEDED


async def test_a_context_that_is_full_in_the_middle_of_an_answer_is_a_failure() -> None:
    *_, error = await ended(HELLO + b"data: " + TOO_LONG["tabbyapi"] + b"\n\n" + DONE)
    assert isinstance(error, MeshError)
    assert error.code is Code.UNAVAILABLE


async def test_an_answer_that_was_aborted_is_not_sold_as_whole() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1}
    *_, error = await ended(HELLO + chunk({}, "abort") + chunk(usage=usage) + DONE)
    assert isinstance(error, MeshError)
    assert error.code is Code.UNAVAILABLE
    assert json.dumps(usage) not in error.message


async def test_a_model_is_found_by_its_name() -> None:
    listing = listed({"id": "other", "owned_by": "tabbyAPI"}, {"id": MODEL, "owned_by": "tabbyAPI"})
    found = await find(serving({**SERVERS["TabbyAPI"], "/v1/models": listing}), MODEL)
    assert (found.model, found.context) == (MODEL, 2048)
