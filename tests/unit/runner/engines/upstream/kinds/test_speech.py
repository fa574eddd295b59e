"""Speech as servers give it, and what is no answer."""

from __future__ import annotations

import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import cache
from typing import Any

import pytest
from aiohttp import web

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.runner.audio.encoders import new_encoder
from services.runner.engines.upstream.kinds.base import Upstream
from services.runner.engines.upstream.kinds.speech import PATH, SpeechServerEngine
from services.runner.kinds.choice import work_reader
from services.runner.kinds.speech import SpeechJob, SpeechReader
from tests.support.job_recording import RecordedJob
from tests.support.recorded_server import Answer, RecordedServer, refusal
from tests.support.waiting import eventually
from tests.unit.runner.engines.upstream.kinds.servers import KOKORO, SERVERS
from tiermesh.runner.v1 import runner_pb2

RATE, SECONDS = 24_000, 2
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


@cache
def sound(form: str) -> bytes:
    """Returns a tone of SECONDS in a format."""
    count = RATE * SECONDS
    samples = struct.pack(f"<{count}h", *(round(8000 * math.sin(number / 10)) for number in range(count)))
    with closing(new_encoder(form, RATE)) as encoder:
        return encoder.encode(samples) + encoder.finish()


async def speak(request: web.Request) -> Answer:
    """Sends a file in parts, as a server does that speaks sentence after sentence."""
    body = await request.json()
    response = web.StreamResponse(headers={"Content-Type": "audio/any"})
    await response.prepare(request)
    audio = sound(body["response_format"])
    for begin in range(0, len(audio), 9000):
        await response.write(audio[begin : begin + 9000])
    return response


@asynccontextmanager
async def running(
    server: str = "Kokoro-FastAPI", answer: Answer = speak, **options: Any
) -> AsyncIterator[tuple[RecordedServer, SpeechServerEngine]]:
    models = {"Kokoro-FastAPI": "kokoro", "speaches": KOKORO}
    async with RecordedServer(SERVERS[server] | {PATH: answer}) as recorded:
        upstream = Upstream(url=recorded.url, key="sk-secret", model=models.get(server, ""))
        engine = SpeechServerEngine(upstream, slots=4, **options)
        await engine.start()
        yield recorded, engine
        await engine.close()


def job(form: str = "mp3", voice: str = "af_heart", speed: float = 1.0) -> SpeechJob:
    return SpeechJob("request", "Hello there, how are you?", voice, form, speed)


@pytest.mark.parametrize("form", FORMATS)
async def test_a_file_comes_as_it_is_made_and_is_counted(form: str) -> None:
    async with running() as (recorded, engine):
        steps = await RecordedJob(engine, job(form)).end()
    assert b"".join(step.audio for step in steps) == sound(form)
    assert [step.finish_reason is not None for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].usage.prompt_tokens == 5
    assert steps[-1].usage.completion_tokens == pytest.approx(SECONDS / 0.05, abs=3)
    (body,) = recorded.requests
    assert body == {
        "model": "kokoro",
        "input": "Hello there, how are you?",
        "voice": "af_heart",
        "response_format": form,
        "speed": 1.0,
    }


async def test_a_voice_is_spelled_as_the_server_spells_it() -> None:
    """Names that the server knows without listing them are there too."""
    async with running() as (recorded, engine):
        assert {"af_heart", "bm_george", "alloy"} <= set(engine.voices)
        await RecordedJob(engine, job(voice="bm_george")).end()
    assert recorded.requests[0]["voice"] == "bm_George"


async def test_samples_without_a_header_have_the_rate_of_openais() -> None:
    async with running("speaches") as (recorded, engine):
        assert set(engine.voices) == {"af_heart"}
        await RecordedJob(engine, job("pcm")).end()
        await RecordedJob(engine, job("wav")).end()
    assert [body.get("sample_rate") for body in recorded.requests] == [24_000, None]


async def test_a_speed_that_the_server_would_break_off_at_is_refused_before_the_work() -> None:
    async with running("speaches") as (recorded, engine):
        with pytest.raises(MeshError, match=r"'speed' must be between 0\.5 and 2 for this model") as refused:
            RecordedJob(engine, job(speed=0.3))
        assert (refused.value.code, refused.value.param) == (Code.INVALID_REQUEST, "speed")
        assert not recorded.requests


async def test_voices_and_formats_that_are_not_there_are_refused_before_the_work() -> None:
    async with running("another", voices=("Anna",)) as (_, engine):
        reader = work_reader(engine)
        assert isinstance(reader, SpeechReader)
        for fields, param in (({"voice": "alloy"}, "voice"), ({"format": "pcm"}, "response_format")):
            task: dict[str, Any] = {"input": "Hello", "voice": "anna", "format": "wav", "speed": 1.0, **fields}
            call = runner_pb2.GenerateCall(speech=runner_pb2.SpeechTask(**task))
            with pytest.raises(MeshError) as refused:
                reader.read(call, Model(id="model", kind="speech", tier="pro", price=1))
            assert (refused.value.code, refused.value.param) == (Code.INVALID_REQUEST, param)


@pytest.mark.parametrize(
    ("form", "sent"),
    [(form, sound(other)) for form in FORMATS for other in FORMATS if form != other and "pcm" not in {form, other}]
    # Bare samples may be anything, but for what says that it is something else.
    + [("pcm", sound(other)) for other in ("opus", "flac", "wav")]
    + [(form, b"") for form in FORMATS]
    + [(form, b'{"error": "no such voice"}') for form in FORMATS]
    + [("mp3", b"ID3" + bytes(500)), ("wav", b"RIFF"), ("pcm", b"odd"), ("pcm", bytes(4801))],
    ids=lambda value: value if isinstance(value, str) else repr(value[:6]),
)
async def test_what_is_no_sound_of_the_format_is_a_failure(form: str, sent: bytes) -> None:
    """Another runner would get the same: the text may be the cause."""
    async with running(answer=sent) as (_, engine):
        failed = RecordedJob(engine, job(form))
        with pytest.raises(MeshError, match="sent no speech in this format") as failure:
            await failed.end()
        assert failure.value.code is Code.CANCELLED
        assert engine.active == 0


async def test_a_server_that_breaks_off_has_failed() -> None:
    async def break_off(request: web.Request) -> Answer:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(sound("mp3")[:5000])
        await response.write(sound("mp3")[5000:9000])
        assert request.transport is not None
        request.transport.close()
        return response

    async with running(answer=break_off) as (_, engine):
        broken = RecordedJob(engine, job())
        with pytest.raises(MeshError, match="The model's server failed") as failure:
            await broken.end()
        assert failure.value.code is Code.UNAVAILABLE
        assert all(step.finish_reason is None for step in broken.steps[:-1])


async def test_a_file_without_an_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runner.engines.upstream.kinds.speech._MOST_BYTES", 1 << 20)

    async def endless(request: web.Request) -> Answer:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"RIFF")
        while True:
            await response.write(bytes(1 << 16))

    async with running(answer=endless) as (recorded, engine):
        cut = RecordedJob(engine, job("wav"))
        with pytest.raises(MeshError, match="The model's server failed"):
            await cut.end()
        assert sum(len(step.audio) for step in cut.steps[:-1]) <= 1 << 20
        await eventually(recorded.left.is_set)


@pytest.mark.parametrize(
    ("status", "code"), [(400, Code.INVALID_REQUEST), (422, Code.INVALID_REQUEST), (500, Code.UNAVAILABLE)]
)
async def test_refusals_are_told_in_the_words_of_this_service(status: int, code: Code) -> None:
    async with running(answer=refusal(status, {"detail": "no http://10.0.0.1/ sk-secret"})) as (_, engine):
        with pytest.raises(MeshError) as refused:
            await RecordedJob(engine, job()).end()
    assert refused.value.code is code
    assert "sk-secret" not in refused.value.message
    assert "10.0.0.1" not in refused.value.message
