"""Transcriptions of a server."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import struct
import threading
from collections.abc import AsyncIterator, Callable, Collection

import aiohttp

from services.common.errors import Code, MeshError
from services.common.extras import how_to_install
from services.common.settings import SettingsError
from services.runner.engines.upstream.kinds.base import ServerEngine, Upstream, check_there
from services.runner.engines.upstream.kinds.exchange import Exchange
from services.runner.engines.upstream.kinds.languages import WHISPER, code_of
from services.runner.engines.upstream.kinds.transcript import Transcript, segments_of
from services.runner.engines.upstream.listed import names_of
from services.runner.engines.upstream.server import UpstreamServer
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.transcription import TranscriptionJob, TranscriptionStep
from services.runner.refusals import invalid, not_served

PATH = "/v1/audio/transcriptions"
_LARGEST = 32 << 20
# As Whisper counts audio (services/runner/engines/whisper/engine.py).
_POSITIONS_PER_SECOND = 50


class TranscriptionServerEngine(ServerEngine[TranscriptionJob, TranscriptionStep]):
    """Writes down recordings of `most_seconds` at most by a server.

    What a client has uploaded is decoded here, and the server gets nothing but samples: it is spared what only looks
    like a recording, and files that would have it open other files.
    """

    def __init__(self, upstream: Upstream, *, slots: int, most_seconds: float = 1800.0) -> None:
        super().__init__("transcription", upstream, slots=slots)
        self._most_seconds = most_seconds
        self._languages: tuple[str, ...] = ()

    @property
    def languages(self) -> Collection[str]:
        """The languages that its model knows, by ISO 639-1 code; known after `start`."""
        return self._languages

    async def _learn(self, session: aiohttp.ClientSession, server: UpstreamServer) -> None:
        if importlib.util.find_spec("av") is None:
            advice = how_to_install("transcription")
            raise SettingsError(f"recordings are decoded with the package av before a server gets them: {advice}")
        await check_there(session, server, PATH)
        told = (code_of(name) for name in names_of(server.entry.get("language")))
        self._languages = tuple(code for code in told if code) or tuple(WHISPER)

    def _check(self, job: TranscriptionJob, server: UpstreamServer) -> None:
        quirks = server.quirks.transcription
        if job.words and not quirks.words:
            raise not_served("timestamp_granularities", "its server tells no times of words")
        given = {"language": job.language, "prompt": job.prompt, "temperature": job.temperature}
        for name, value in given.items():
            if value and name in quirks.ignored:
                raise not_served(name, "its server ignores it")

    def _exchange(
        self, session: aiohttp.ClientSession, server: UpstreamServer, request_id: str, progressed: Callable[[], None]
    ) -> Exchange:
        advice = "Send a shorter recording, or fewer fields"
        return Exchange(session, server.root, request_id, progressed, param="file", advice=advice)

    async def _steps(
        self, job: TranscriptionJob, server: UpstreamServer, exchange: Exchange
    ) -> AsyncIterator[TranscriptionStep]:
        samples, duration = await self._decoded(job.audio)
        exchange.progressed()

        def form() -> aiohttp.FormData:
            return _form(job, server, samples)

        transcript: Transcript = await exchange.ask(PATH, Transcript, _LARGEST, form=form)
        segments = segments_of(transcript, duration)
        text = "".join(segment.text for segment in segments)
        if not text:
            raise invalid("The model hears no words in 'file'. Send a recording of speech.", "file")
        if job.words and not any(segment.words for segment in segments):
            raise _without_words()
        for segment in segments:
            yield TranscriptionStep(segment)
        tokens = sum(len(segment.token_ids) for segment in segments) or len(text.split())
        language = code_of(transcript.language or "") or job.language or self._only_language()
        usage = TokenCounts(round(duration * _POSITIONS_PER_SECOND), tokens)
        yield TranscriptionStep(None, language, duration, FinishReason.STOP, usage)

    async def _decoded(self, audio: bytes) -> tuple[bytes, float]:
        """Returns samples, and how many seconds they last; raises MeshError INVALID_REQUEST."""
        from services.runner.audio.decoding import RATE, decode

        stopped = threading.Event()
        try:
            samples = await asyncio.to_thread(decode, audio, self._most_seconds, stopped.is_set)
        finally:
            stopped.set()
        return samples, len(samples) / 2 / RATE

    def _only_language(self) -> str:
        """Returns the language of a model that knows one, else an empty text."""
        return self._languages[0] if len(self._languages) == 1 else ""


def _form(job: TranscriptionJob, server: UpstreamServer, samples: bytes) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(_wav(samples)), filename="recording.wav", content_type="audio/wav")
    quirks = server.quirks.transcription
    fields = {
        "model": server.model,
        "response_format": quirks.form,
        "language": job.language or "",
        "prompt": job.prompt,
        "temperature": f"{job.temperature:g}" if job.temperature else "",
    }
    for name, value in fields.items():
        if value:
            form.add_field(name, value)
    if quirks.form == "verbose_json":
        for granularity in ("word", "segment") if job.words else ("segment",):
            form.add_field("timestamp_granularities[]", granularity)
    return form


def _wav(samples: bytes) -> bytes:
    """Returns a RIFF WAVE file of 16-bit mono samples, all of which are there."""
    from services.runner.audio.decoding import RATE

    form = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    head = struct.pack("<4sI4s4sI", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", len(form))
    return head + form + struct.pack("<4sI", b"data", len(samples)) + samples


def _without_words() -> MeshError:
    """Returns the failure of an answer without the times that were asked for; another runner would give the same."""
    message = "The model's server told no times of words. Leave 'timestamp_granularities' out, or try again."
    return MeshError(Code.CANCELLED, message, retry_after=1.0)
