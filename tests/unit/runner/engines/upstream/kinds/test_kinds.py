"""What a server is used for: what it says itself, or what its operator says."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from services.common.catalog import Kind
from services.common.settings import SettingsError
from services.runner.engines.upstream.facts import ask_server
from services.runner.engines.upstream.kinds.base import ServerEngine, Upstream
from services.runner.engines.upstream.kinds.embedding import EmbeddingServerEngine
from services.runner.engines.upstream.kinds.image import ImageServerEngine
from services.runner.engines.upstream.kinds.speech import SpeechServerEngine
from services.runner.engines.upstream.kinds.transcription import TranscriptionServerEngine
from services.runner.engines.upstream.server import UpstreamServer, find_server
from tests.support.recorded_server import RecordedServer, refusal
from tests.unit.runner.engines.upstream.kinds.servers import KOKORO, SERVERS, WHISPER, openai_like


async def find(server: str, kind: Kind | None, model: str = "") -> UpstreamServer:
    async with RecordedServer(SERVERS[server]) as running, aiohttp.ClientSession() as session:
        return await find_server(session, running.url, model, kind)


@pytest.mark.parametrize(
    ("server", "asked", "model", "found", "kind"),
    [
        ("speaches", "transcription", "", WHISPER, "transcription"),
        ("speaches", "speech", "", KOKORO, "speech"),
        ("speaches", None, KOKORO, KOKORO, "speech"),
        ("Kokoro-FastAPI", None, "kokoro", "kokoro", "speech"),
        ("Ollama", None, "all-minilm:latest", "all-minilm:latest", "embedding"),
        ("Ollama", None, "gemma:4b", "gemma:4b", "chat"),
        ("Ollama", "transcription", "gemma:4b", "gemma:4b", "transcription"),
        ("stable-diffusion.cpp", None, "", "sd-cpp-local", "image"),
        ("TabbyAPI", "embedding", "", "model", "embedding"),
        ("vLLM", None, "", "model", "chat"),
        ("vLLM", "embedding", "", "model", "embedding"),
        ("another", "image", "", "model", "image"),
        ("another mesh", None, "", "model", "transcription"),
    ],
)
async def test_the_model_and_its_kind_are_found(
    server: str, asked: Kind | None, model: str, found: str, kind: Kind
) -> None:
    answer = await find(server, asked, model)
    assert (answer.model, answer.kind) == (found, kind)
    assert answer.quirks.name == server or server.startswith("another")


@pytest.mark.parametrize(
    ("server", "asked", "model", "words"),
    [
        ("speaches", "embedding", "", "has no model for embeddings; choose another one, or the kind that it has"),
        ("speaches", "chat", WHISPER, f"{WHISPER} at .* is for transcriptions, not for chats; choose another one"),
        ("speaches", "speech", "pyannote", "pyannote at .* does other work, not for speech"),
        ("speaches", None, "", "name one of the models"),
        ("Kokoro-FastAPI", "image", "kokoro", "kokoro at .* is for speech, not for images"),
        ("Ollama", "chat", "all-minilm:latest", "is for embeddings, not for chats"),
        ("Ollama", "embedding", "gemma:4b", "is for chats and transcriptions, not for embeddings"),
        ("stable-diffusion.cpp", "chat", "", "is for images, not for chats"),
    ],
)
async def test_a_model_for_other_work_is_refused(server: str, asked: Kind | None, model: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        await find(server, asked, model)


async def test_the_facts_for_a_mesh_name_the_voices() -> None:
    async with RecordedServer(SERVERS["Kokoro-FastAPI"]) as server:
        listed = await ask_server(server.url, model="kokoro")
        given = await ask_server(server.url, model="kokoro", voices=["af_sky"])
    assert (listed.kind, listed.voices[:3]) == ("speech", ("af_heart", "bm_George", "alloy"))
    assert given.voices == ("af_sky",)


def engines(url: str) -> list[ServerEngine[Any, Any]]:
    upstream = Upstream(url=url, key="sk-secret")
    return [
        EmbeddingServerEngine(upstream, slots=1, context=256),
        SpeechServerEngine(upstream, slots=1),
        TranscriptionServerEngine(upstream, slots=1),
        ImageServerEngine(upstream, slots=1),
    ]


PATHS = {
    "embedding": "/v1/embeddings",
    "speech": "/v1/audio/speech",
    "transcription": "/v1/audio/transcriptions",
    "image": "/v1/images/generations",
}


@pytest.mark.parametrize("status", [404, 405, 501, 200])
async def test_a_server_without_the_path_does_not_have_the_kind(status: int) -> None:
    """Some answer anything at all with status 200."""
    answers = openai_like("someone") | {
        path: refusal(status, {"error": f"Unexpected endpoint. {path}"}) for path in PATHS.values()
    }
    async with RecordedServer(answers) as server:
        server.empty = refusal(status, {"error": "Unexpected endpoint."})
        for engine in engines(server.url):
            with pytest.raises(SettingsError, match=r"a server of an unknown kind at .* has no ") as refused:
                await engine.start()
            assert "sk-secret" not in str(refused.value)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_the_work_needs_is_named(status: int) -> None:
    async with RecordedServer(openai_like("someone") | dict.fromkeys(PATHS.values(), b"")) as server:
        server.empty = refusal(status)
        for engine in engines(server.url)[1:]:
            with pytest.raises(SettingsError, match="TIERMESH_RUNNER_UPSTREAM_KEY: the server refuses it"):
                await engine.start()


async def test_a_server_that_does_not_list_its_voices_needs_them() -> None:
    async with RecordedServer(openai_like("someone") | {PATHS["speech"]: b""}) as server:
        with pytest.raises(SettingsError, match=r"TIERMESH_RUNNER_UPSTREAM_VOICES: .* does not list its voices"):
            await SpeechServerEngine(Upstream(url=server.url), slots=1).start()
        named = SpeechServerEngine(Upstream(url=server.url), slots=1, voices=("Anna",))
        await named.start()
        assert set(named.voices) == {"anna"}
        await named.close()
