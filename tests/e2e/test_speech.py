"""Speech by the official SDK, heard by FFmpeg and by Whisper."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx2
import openai
import pytest
from openai import OpenAI

from tests.support.account import FundedAccount
from tests.support.mesh import LocalMesh

SENTENCE = "Today is a wonderful day to build something people love!"
PRICE = 3


def words(text: str) -> str:
    return " ".join(re.findall(r"[a-z]+", text.lower()))


def heard(client: openai.OpenAI, audio: bytes, name: str) -> str:
    return words(client.audio.transcriptions.create(model="tiermesh-transcribe", file=(name, audio)).text)


def speak(client: openai.OpenAI, text: str = SENTENCE, **options: Any) -> bytes:
    voice = options.pop("voice", "alloy")
    return client.audio.speech.create(model="tiermesh-speech", input=text, voice=voice, **options).read()


@pytest.mark.filterwarnings("ignore:Due to a bug:DeprecationWarning")
def test_the_sample_of_the_reference_runs_as_it_is(real_mesh: LocalMesh, tmp_path: Path) -> None:
    client = OpenAI(api_key=real_mesh.unlimited_key, base_url=real_mesh.base_url)
    speech_file_path = tmp_path / "speech.mp3"

    response = client.audio.speech.create(
        model="tiermesh-speech",
        input="Today is a wonderful day to build something people love!",
        voice="helpful woman",
    )
    response.stream_to_file(speech_file_path)

    assert heard(client, speech_file_path.read_bytes(), "speech.mp3") == words(SENTENCE)


@pytest.mark.parametrize(
    ("name", "content_type", "rate"),
    [("mp3", "audio/mpeg", 16_000), ("opus", "audio/ogg", 48_000), ("aac", "audio/aac", 16_000),
     ("flac", "audio/flac", 16_000), ("wav", "audio/wav", 16_000)],
)  # fmt: skip
def test_every_format_is_what_it_says(client: openai.OpenAI, name: Any, content_type: str, rate: int) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tiermesh-speech", input=SENTENCE, voice="alloy", response_format=name
    ) as response:
        assert response.headers["content-type"] == content_type
        assert response.headers["transfer-encoding"] == "chunked"
        audio = b"".join(response.iter_bytes())
    with av.open(io.BytesIO(audio), "r") as container:
        frames = list(container.decode(audio=0))
    assert {frame.sample_rate for frame in frames} == {rate}
    assert 2.5 < sum(frame.samples for frame in frames) / rate < 6
    assert heard(client, audio, f"speech.{name}") == words(SENTENCE)


def test_pcm_is_24_khz(client: openai.OpenAI) -> None:
    audio = speak(client, response_format="pcm")
    assert 2.5 < len(audio) / 2 / 24_000 < 6
    file = io.BytesIO()
    with av.open(file, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=24_000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(audio) // 2)
        frame.planes[0].update(audio)
        frame.sample_rate = 24_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert heard(client, file.getvalue(), "speech.wav") == words(SENTENCE)


def test_the_first_sounds_come_before_the_last_are_paid(real_mesh: LocalMesh) -> None:
    account = FundedAccount(real_mesh)
    client = OpenAI(api_key=account.new_key()["api_key"], base_url=real_mesh.base_url, max_retries=0)
    with client.audio.speech.with_streaming_response.create(
        # More than any buffer between here and there takes in.
        model="tiermesh-speech", input=(SENTENCE + " ") * 70, voice="alloy", response_format="wav", speed=0.5
    ) as response:  # fmt: skip
        pieces = response.iter_bytes(chunk_size=4096)
        assert next(pieces)
        assert real_mesh.command_now("balance", account.account)["held"] == PRICE
        assert sum(map(len, pieces)) > 12_000_000
    balance = real_mesh.command_now("balance", account.account)
    assert (balance["available"], balance["held"]) == (1000 - PRICE, 0)


def test_events(client: openai.OpenAI) -> None:
    text = speak(client, stream_format="sse", response_format="wav").decode()
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in events[:-1]] == ["speech.audio.delta"] * (len(events) - 1)
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert heard(client, audio, "speech.wav") == words(SENTENCE)
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["total_tokens"] > 40


def test_voices_by_any_of_their_names(client: openai.OpenAI) -> None:
    assert speak(client, "Hello.", voice={"id": "onyx"})
    assert speak(client, "Hello.", voice="en-GB")
    assert speak(client, "Bonjour.", voice="fr-FR", instructions="Speak softly.")


def test_speed(client: openai.OpenAI) -> None:
    slow, fast = (len(speak(client, response_format="pcm", speed=speed)) for speed in (0.5, 2.0))
    assert slow > 1.8 * fast


@pytest.fixture
def uncharged(real_mesh: LocalMesh) -> Iterator[None]:
    before = real_mesh.command_now("balance", real_mesh.account_id)
    yield
    assert real_mesh.command_now("balance", real_mesh.account_id) == before


@pytest.mark.usefixtures("uncharged")
def test_an_unknown_voice_lists_those_that_there_are(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"en-us, .*alloy, .*helpful woman") as refusal:
        speak(client, voice="angry man")
    assert refusal.value.param == "voice"


@pytest.mark.usefixtures("uncharged")
@pytest.mark.parametrize(
    ("options", "param"),
    [({"response_format": "midi"}, "response_format"), ({"speed": 9}, "speed"), ({"text": ""}, "input"),
     ({"text": "a" * 4097}, "input"), ({"text": "...!"}, "input"), ({"voice": ""}, "voice")],
)  # fmt: skip
def test_mistakes_are_400_with_their_param(client: openai.OpenAI, options: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        speak(client, **options)
    assert refusal.value.param == param
    assert isinstance(refusal.value.code, str)


@pytest.mark.usefixtures("uncharged")
def test_a_model_of_another_kind_says_where_it_is_used(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="/v1/chat/completions"):
        client.audio.speech.create(model="tiermesh-pro", input="Hello", voice="alloy")
    with pytest.raises(openai.BadRequestError, match="/v1/audio/speech"):
        client.chat.completions.create(model="tiermesh-speech", messages=[{"role": "user", "content": "Hello"}])


def test_a_key_needs_the_scope(real_mesh: LocalMesh) -> None:
    key = real_mesh.command_now("key", "create", real_mesh.account_id, "--endpoint", "chat")["api_key"]
    response = httpx2.post(
        real_mesh.base_url + "/audio/speech",
        json={"model": "tiermesh-speech", "input": "Hello", "voice": "alloy"},
        headers={"Authorization": f"Bearer {key}"},
    )
    assert response.status_code == 403
    assert "'audio'" in response.json()["error"]["message"]
