"""Speech of a server."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import AsyncIterator, Callable, Collection, Sequence

import aiohttp

from services.common.errors import Code, MeshError
from services.common.extras import how_to_install
from services.common.settings import SettingsError
from services.runner.engines.upstream.bounded import TooLargeError
from services.runner.engines.upstream.kinds.base import ServerEngine, Upstream, check_there
from services.runner.engines.upstream.kinds.exchange import Exchange
from services.runner.engines.upstream.kinds.sound import ENOUGH, begins_as, seconds_of
from services.runner.engines.upstream.server import UpstreamServer, listed_voices
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.speech import SECONDS_PER_TOKEN, SpeechJob, SpeechStep
from services.runner.refusals import invalid

PATH = "/v1/audio/speech"
# The longest text does with less, however slowly it is read.
_MOST_SECONDS, _MOST_BYTES = 1200.0, 64 << 20


class SpeechServerEngine(ServerEngine[SpeechJob, SpeechStep]):
    """Speaks by a server, with the `voices` that are given, or else with those that it lists."""

    def __init__(self, upstream: Upstream, *, slots: int, voices: Sequence[str] = ()) -> None:
        super().__init__("speech", upstream, slots=slots)
        self._named = tuple(voices)
        # As the server spells them, by their names in lower case.
        self._voices: dict[str, str] = {}
        self._formats: tuple[str, ...] = ()

    @property
    def voices(self) -> Collection[str]:
        """The names of its voices, in lower case; known after `start`."""
        return self._voices.keys()

    @property
    def formats(self) -> Collection[str]:
        """The audio formats that the server makes; known after `start`."""
        return self._formats

    async def _learn(self, session: aiohttp.ClientSession, server: UpstreamServer) -> None:
        if importlib.util.find_spec("av") is None:
            raise SettingsError(f"what a server speaks is checked with the package av: {how_to_install('speech')}")
        await check_there(session, server, PATH)
        listed = self._named or await listed_voices(session, server)
        if not listed:
            raise SettingsError(
                f"TIERMESH_RUNNER_UPSTREAM_VOICES: {server.quirks.name} at {server.base_url} does not list its "
                "voices; name them"
            )
        self._voices = {name.lower(): name for name in listed}
        self._formats = server.quirks.speech.formats

    def _check(self, job: SpeechJob, server: UpstreamServer) -> None:
        slowest, fastest = server.quirks.speech.speeds
        if not slowest <= job.speed <= fastest:
            raise invalid(f"'speed' must be between {slowest:g} and {fastest:g} for this model.", "speed")

    def _exchange(
        self, session: aiohttp.ClientSession, server: UpstreamServer, request_id: str, progressed: Callable[[], None]
    ) -> Exchange:
        advice = "Send another text in 'input'"
        return Exchange(session, server.root, request_id, progressed, param="input", advice=advice)

    async def _steps(self, job: SpeechJob, server: UpstreamServer, exchange: Exchange) -> AsyncIterator[SpeechStep]:
        body = {
            "model": server.model,
            "input": job.input,
            "voice": self._voices[job.voice],
            "response_format": job.format,
            "speed": job.speed,
            **server.quirks.speech.always.get(job.format, {}),
        }
        audio = bytearray()
        # What has been passed on already: nothing before it can be told what it is, and the end not before all is
        # known to be sound.
        passed = 0
        async with exchange.post(PATH, json=body) as response:
            async for piece in response.content.iter_any():
                exchange.progressed()
                if len(audio) + len(piece) > _MOST_BYTES:
                    raise TooLargeError
                if len(audio) >= ENOUGH:
                    if not passed and not begins_as(job.format, audio):
                        raise _other_sound()
                    yield SpeechStep(bytes(audio[passed:]))
                    passed = len(audio)
                audio += piece
        whole = bytes(audio)
        if len(whole) < ENOUGH or not begins_as(job.format, whole):
            raise _other_sound()
        seconds = await _seconds(job.format, whole)
        if not seconds:
            raise _other_sound()
        usage = TokenCounts(len(job.input.split()), round(seconds / SECONDS_PER_TOKEN))
        yield SpeechStep(whole[passed:], FinishReason.STOP, usage)


async def _seconds(name: str, audio: bytes) -> float | None:
    """Returns how long a file sounds; None if it does not."""
    stopped = threading.Event()
    try:
        return await asyncio.to_thread(seconds_of, name, audio, _MOST_SECONDS, stopped.is_set)
    finally:
        stopped.set()


def _other_sound() -> MeshError:
    """Returns the failure of an answer that is no sound of the wanted format.

    The text may be the cause, so its code is one for which no other runner is tried, and this one is not ejected.
    """
    message = "The model's server sent no speech in this format. Send another text, or another 'response_format'."
    return MeshError(Code.CANCELLED, message, retry_after=1.0)
