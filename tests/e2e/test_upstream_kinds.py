"""A mesh in front of servers for everything but chats, used by the official SDK.

The embeddings are those of a real llama.cpp server. The others are small servers that speak as the real ones do.
"""

from __future__ import annotations

import asyncio
import base64
import io
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from aiohttp import web
from PIL import Image

from services.runner.demonstrations.minilm import minilm
from services.runner.engines.upstream.kinds.base import Upstream
from services.runner.engines.upstream.kinds.speech import SpeechServerEngine
from services.runner.engines.upstream.kinds.transcription import TranscriptionServerEngine
from services.runner.kinds.speech import SpeechJob
from services.runner.kinds.transcription import TranscriptionJob
from tests.support.images import plain_image
from tests.support.job_recording import RecordedJob
from tests.support.llamacpp_server import LlamaCppServer
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess
from tests.support.recorded_server import Answer, RecordedServer
from tests.support.waiting import eventually
from tests.unit.runner.engines.upstream.kinds.servers import SERVERS, WHISPER
from tests.unit.runner.engines.upstream.kinds.test_speech import sound, speak

KEY = "sk-of-the-upstream"
SENTENCE = "Today is a wonderful day to build something people love!"
SPEECH = "kokoro"
TRANSCRIPT = {
    "task": "transcribe", "language": "en", "duration": 2.0, "text": "Hello there.",
    "segments": [{"id": 0, "start": 0.0, "end": 1.5, "text": " Hello there.", "tokens": [1, 2], "avg_logprob": -0.5}],
}  # fmt: skip
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def paint(request: web.Request) -> Answer:
    width, height = map(int, (await request.json())["size"].split("x"))
    # It rounds sizes, as some do.
    size = (width // 16 * 16, height // 16 * 16)
    return {"created": 1, "data": [{"b64_json": base64.b64encode(plain_image("blue", size)).decode()}]}


async def speak_or_break_off(request: web.Request) -> Answer:
    """Breaks off in a file whose text says so."""
    if (await request.json())["input"] != "Break off.":
        return await speak(request)
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(sound("mp3")[:8000])
    assert request.transport is not None
    request.transport.close()
    return response


class World:
    """The servers, and the mesh in front of them."""

    embedding: LlamaCppServer
    speech: RecordedServer
    mesh: LocalMesh
    embedding_runner: ServiceProcess


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    directory = tmp_path_factory.mktemp("upstream-kinds")
    world = World()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        world.embedding = await enter(LlamaCppServer(minilm(directory), KEY, embedding=True))
        world.speech = await enter(RecordedServer(SERVERS["Kokoro-FastAPI"] | {"/v1/audio/speech": speak_or_break_off}))
        listening = await enter(RecordedServer(SERVERS["speaches"] | {"/v1/audio/transcriptions": TRANSCRIPT}))
        painting = await enter(RecordedServer(SERVERS["vLLM"] | {"/v1/images/generations": paint}))
        options = ("--engine", "llamacpp", "--upstream", world.speech.url, "--upstream-model", "kokoro")
        world.mesh = await enter(LocalMesh(directory, *options, tiers=("local",)))
        upstreams = {
            "embedding": {"upstream_url": world.embedding.url, "upstream_key": KEY, "context": "512"},
            "transcription": {"upstream_url": listening.url, "upstream_model": WHISPER},
            "image": {"upstream_url": painting.url},
        }
        runners = [_runner(world.mesh, directory, kind, settings) for kind, settings in upstreams.items()]
        for runner in runners:
            stack.push_async_callback(runner.kill)
            runner.spawn()
        for runner in runners:
            await eventually(runner.ready, 60)
        world.embedding_runner = runners[0]
        yield world


def _runner(mesh: LocalMesh, directory: Path, kind: str, settings: dict[str, str]) -> ServiceProcess:
    catalog = {"catalog_file": str(mesh.state_dir / "own-models.json"), "tier": kind}
    chosen = {"engine": "upstream", "upstream_kind": kind, **catalog, **settings}
    return ServiceProcess("runner", directory, {**mesh.etcd_settings, **mesh.tls_settings("runner"), **chosen})


@pytest_asyncio.fixture(loop_scope="module")
async def client(world: World) -> AsyncIterator[openai.AsyncOpenAI]:
    mesh = world.mesh
    async with openai.AsyncOpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0) as client:

        async def all_there() -> bool:
            served = {model.id for model in (await client.models.list()).data if model.model_dump()["available"]}
            return {SPEECH, "tiermesh-embed", "tiermesh-transcribe", "tiermesh-image"} <= served

        await eventually(all_there, 30)
        yield client


class Credits:
    """What a request costs."""

    def __init__(self, client: openai.AsyncOpenAI, before: int) -> None:
        self._client = client
        self._before = before

    @classmethod
    async def of(cls, client: openai.AsyncOpenAI) -> Credits:
        return cls(client, await cls._now(client))

    @staticmethod
    async def _now(client: openai.AsyncOpenAI) -> int:
        return (await client.get("/balance", cast_to=dict[str, int]))["credits"]

    async def spent(self) -> int:
        return self._before - await self._now(self._client)

    async def until_free(self) -> None:
        """Waits until what was held for a request has been released."""

        async def free() -> bool:
            return await self.spent() == 0

        await eventually(free, 30)


async def test_what_the_server_speaks_is_sold_with_its_voices(world: World, client: openai.AsyncOpenAI) -> None:
    """Nobody has said of which kind the server is."""
    assert "(upstream: Kokoro-FastAPI at http://127.0.0.1:" in world.mesh.output
    found = (await client.models.retrieve(SPEECH)).model_dump()
    assert (found["kind"], found["available"]) == ("speech", True)
    voices = await client.get("/audio/voices", cast_to=dict[str, Any])
    assert {"af_heart", "bm_George", "alloy"} <= {voice["id"] for voice in voices["voices"]}
    # The demonstration's model for the same work is not sold beside it, and its others are.
    kinds = [model.model_dump()["kind"] for model in (await client.models.list()).data]
    assert kinds.count("speech") == 1
    assert {"chat", "embedding", "transcription", "image"} <= set(kinds)


async def test_speech(client: openai.AsyncOpenAI) -> None:
    cost = await Credits.of(client)
    audio = await client.audio.speech.create(model=SPEECH, input="Hello there.", voice="alloy", response_format="wav")
    assert audio.content == sound("wav")
    assert await cost.spent() == 10


async def test_speech_that_breaks_off_is_no_file_and_free(client: openai.AsyncOpenAI) -> None:
    """The connection breaks too, unless nothing has been passed on yet."""
    cost = await Credits.of(client)
    with pytest.raises((openai.APIConnectionError, openai.InternalServerError)):
        await client.audio.speech.create(model=SPEECH, input="Break off.", voice="alloy")
    await cost.until_free()


async def test_embeddings(client: openai.AsyncOpenAI) -> None:
    cost = await Credits.of(client)
    answer = await client.embeddings.create(model="tiermesh-embed", input=["A fox", "A dog"])
    assert [len(each.embedding) for each in answer.data] == [384, 384]
    assert answer.usage.prompt_tokens == 8
    assert await cost.spent() == 1


async def test_transcription(client: openai.AsyncOpenAI) -> None:
    cost = await Credits.of(client)
    answer = await client.audio.transcriptions.create(
        model="tiermesh-transcribe", file=("speech.mp3", sound("mp3")), response_format="verbose_json"
    )
    assert (answer.text, answer.language) == ("Hello there.", "english")
    assert answer.segments is not None
    assert (answer.segments[0].end, answer.segments[0].tokens) == (1.5, [1, 2])
    assert await cost.spent() == 3


async def test_images(client: openai.AsyncOpenAI) -> None:
    cost = await Credits.of(client)
    answer = await client.images.generate(
        model="tiermesh-image",
        prompt="A fox",
        n=2,
        response_format="b64_json",
        # The SDK knows OpenAI's sizes only.
        extra_body={"size": "64x32", "seed": 5, "output_format": "webp"},
    )
    assert answer.data is not None
    for each in answer.data:
        with Image.open(io.BytesIO(base64.b64decode(each.b64_json or ""))) as image:
            assert (image.format, image.size) == ("WEBP", (64, 32))
    assert await cost.spent() == 8


async def test_an_image_of_another_size_is_free(client: openai.AsyncOpenAI) -> None:
    cost = await Credits.of(client)
    with pytest.raises(openai.InternalServerError, match="makes no images of this size"):
        await client.images.generate(model="tiermesh-image", prompt="A fox", extra_body={"size": "72x72"})
    await cost.until_free()


async def test_what_a_server_lacks_is_refused_for_free(client: openai.AsyncOpenAI) -> None:
    cost = await Credits.of(client)
    with pytest.raises(openai.BadRequestError, match="does not have the voice in 'voice'"):
        await client.audio.speech.create(model=SPEECH, input="Hello", voice="nobody")
    with pytest.raises(openai.BadRequestError, match="512 tokens for each input"):
        await client.embeddings.create(model="tiermesh-embed", input="long " * 600)
    with pytest.raises(openai.BadRequestError, match="cannot have 100 'dimensions'"):
        await client.embeddings.create(model="tiermesh-embed", input="A fox", dimensions=100)
    await cost.until_free()


async def test_speech_and_transcriptions_of_a_real_server(real_mesh: LocalMesh) -> None:
    """The edge of another mesh is one: SVOX Pico speaks there, and Whisper listens."""
    upstream = {"url": real_mesh.base_url, "key": real_mesh.unlimited_key}
    speaks = SpeechServerEngine(Upstream(**upstream, model="tiermesh-speech"), slots=1)
    listens = TranscriptionServerEngine(Upstream(**upstream, model="tiermesh-transcribe"), slots=1)
    await speaks.start()
    await listens.start()
    steps = await RecordedJob(speaks, SpeechJob("request", SENTENCE, "alloy", "mp3", 1.0)).end()
    audio = b"".join(step.audio for step in steps)
    *phrases, last = await RecordedJob(listens, TranscriptionJob("request", audio, words=True)).end()
    text = "".join(step.segment.text for step in phrases)
    assert re.findall("[a-z]+", text.lower()) == re.findall("[a-z]+", SENTENCE.lower())
    said = [word.text.strip() for step in phrases for word in step.segment.words]
    assert said == text.split()
    assert last.usage.prompt_tokens == pytest.approx(steps[-1].usage.completion_tokens * 0.05 * 50, rel=0.1)
    await speaks.close()
    await listens.close()


async def test_a_server_that_dies_in_the_work_costs_nothing(world: World, client: openai.AsyncOpenAI) -> None:
    """It is the last test here, because the server stays dead."""
    cost = await Credits.of(client)
    world.embedding.send(signal.SIGSTOP)
    waiting = asyncio.create_task(client.embeddings.create(model="tiermesh-embed", input="A fox"))

    async def at_work() -> bool:
        return "tiermesh_runner_slots_active 1.0" in await world.embedding_runner.metrics()

    await eventually(at_work, 20)
    world.embedding.send(signal.SIGKILL)
    with pytest.raises(openai.InternalServerError) as failure:
        await waiting
    assert "127.0.0.1" not in str(failure.value)
    assert KEY not in str(failure.value)
    await cost.until_free()
