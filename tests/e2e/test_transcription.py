"""Transcription by the official SDK, and of everything that is not quite a form."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from tests.support import openai_schemas as schema
from tests.support.account import FundedAccount
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

SENTENCE = "The quick brown fox jumps over the lazy dog. Today is a wonderful day to build something people love!"
MODEL = "tiermesh-transcribe"
TIME = r"\d\d:\d\d:\d\d"


@pytest.fixture(scope="module")
def recording(real_mesh: LocalMesh) -> bytes:
    with openai.OpenAI(base_url=real_mesh.base_url, api_key=real_mesh.unlimited_key) as client:
        return client.audio.speech.create(model="tiermesh-speech", input=SENTENCE, voice="alloy").read()


def check(text: str) -> None:
    assert "quick brown fox jumps over the lazy dog" in text.lower()
    assert "wonderful day to build something people love" in text.lower()


def test_json(client: openai.OpenAI, recording: bytes) -> None:
    transcription = client.audio.transcriptions.create(
        model=MODEL, file=("a.mp3", recording), language="en", prompt="Foxes", temperature=0
    )
    check(transcription.text)
    assert transcription.usage is not None
    assert transcription.usage.type == "duration"
    assert 4 < transcription.usage.seconds < 10


def test_bodies_are_what_openai_publishes(client: openai.OpenAI, recording: bytes) -> None:
    ask = client.audio.transcriptions.with_raw_response.create
    plain = ask(model=MODEL, file=("a.mp3", recording))
    schema.check("CreateTranscriptionResponseJson", plain.http_response.json())
    verbose = ask(
        model=MODEL, file=("a.mp3", recording), response_format="verbose_json", timestamp_granularities=["word"]
    )
    schema.check("CreateTranscriptionResponseVerboseJson", verbose.http_response.json())


def test_text(client: openai.OpenAI, recording: bytes) -> None:
    file = ("a.mp3", recording)
    answer = client.audio.transcriptions.with_raw_response.create(model=MODEL, file=file, response_format="text")
    check(answer.parse())
    # Some clients take text for Latin-1 unless they are told.
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_srt_and_vtt(client: openai.OpenAI, recording: bytes) -> None:
    srt = client.audio.transcriptions.create(model=MODEL, file=("a.mp3", recording), response_format="srt")
    assert re.match(rf"1\n{TIME},\d{{3}} --> {TIME},\d{{3}}\n\S", srt)
    vtt = client.audio.transcriptions.create(model=MODEL, file=("a.mp3", recording), response_format="vtt")
    assert re.match(rf"WEBVTT\n\n{TIME}\.\d{{3}} --> {TIME}\.\d{{3}}\n\S", vtt)
    check(srt.replace("\n", " "))
    check(vtt.replace("\n", " "))


def test_verbose_json_with_words(client: openai.OpenAI, recording: bytes) -> None:
    verbose = client.audio.transcriptions.create(
        model=MODEL,
        file=("a.mp3", recording),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    check(verbose.text)
    assert verbose.language == "english"
    assert verbose.words is not None
    assert verbose.segments is not None
    assert [word.word.lower().strip(".,") for word in verbose.words][:4] == ["the", "quick", "brown", "fox"]
    starts = [word.start for word in verbose.words]
    assert starts == sorted(starts)
    assert verbose.segments[-1].end <= verbose.duration
    assert all(segment.tokens and segment.avg_logprob < 0 for segment in verbose.segments)


def test_a_stream(client: openai.OpenAI, recording: bytes) -> None:
    events = list(client.audio.transcriptions.create(model=MODEL, file=("a.mp3", recording), stream=True))
    done = events[-1]
    assert done.type == "transcript.text.done"
    check(done.text)
    deltas = [event.delta for event in events[:-1] if event.type == "transcript.text.delta"]
    assert len(deltas) == len(events) - 1 >= 1
    assert "".join(deltas) == done.text
    assert done.usage is not None
    assert done.usage.output_tokens > 10


@pytest.fixture
def uncharged(real_mesh: LocalMesh) -> Iterator[None]:
    before = real_mesh.command_now("balance", real_mesh.account_id)
    yield
    assert real_mesh.command_now("balance", real_mesh.account_id) == before


@pytest.mark.usefixtures("uncharged")
@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"file": ("a.mp3", b"not a sound" * 50)}, "file"), ({"file": ("a.mp3", b"")}, "file"),
        ({"language": "de"}, "language"), ({"temperature": 3}, "temperature"),
        ({"response_format": "midi"}, "response_format"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"), ({"prompt": "a" * 5000}, "prompt"),
        ({"stream": True, "response_format": "srt"}, "response_format"),
    ],
)  # fmt: skip
def test_mistakes_are_400_with_their_param(
    client: openai.OpenAI, recording: bytes, options: dict[str, Any], param: str
) -> None:
    given: dict[str, Any] = {"model": MODEL, "file": ("a.mp3", recording), **options}
    with pytest.raises(openai.BadRequestError) as refusal:
        client.audio.transcriptions.create(**given)
    assert refusal.value.param == param


@pytest.mark.usefixtures("uncharged")
def test_what_is_not_a_recording_names_the_formats(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="flac, mp3, mp4"):
        client.audio.transcriptions.create(model=MODEL, file=("a.mp3", b"%PDF-1.7 " * 100))


@pytest.mark.usefixtures("uncharged")
def test_too_large_a_file_is_413(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="26214400 bytes") as refusal:
        client.audio.transcriptions.create(model=MODEL, file=("a.wav", bytes(27 * 1024 * 1024)))
    assert refusal.value.status_code == 413


@pytest.mark.usefixtures("uncharged")
@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
async def test_a_client_that_leaves_before_the_first_words_pays_nothing(real_mesh: LocalMesh, recording: bytes) -> None:
    account = FundedAccount(real_mesh)
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(
            real_mesh.base_url + "/audio/transcriptions",
            data={"model": MODEL},
            # Recordings of mp3 may stand one after the other.
            files={"file": ("a.mp3", recording * 8)},
            headers={"Authorization": f"Bearer {account.new_key()['api_key']}"},
            timeout=0.5,
        )
    await eventually(account.paid_nothing)


def test_translations_say_what_to_do_instead(client: openai.OpenAI, recording: bytes) -> None:
    with pytest.raises(openai.NotFoundError, match="/v1/audio/transcriptions"):
        client.audio.translations.create(model=MODEL, file=("a.mp3", recording))


BOUNDARY = "tiermesh-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def field(name: str, value: bytes, more: str = "") -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
NESTED = f"--{BOUNDARY}\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\nx\r\n--q--\r\n".encode() + END
VALID = field("model", MODEL.encode()) + field("file", b"x" * 200, '; filename="a.mp3"') + END


def post(mesh: LocalMesh, content: bytes, content_type: str = FORM) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}", "Content-Type": content_type}
    return httpx2.post(mesh.base_url + "/audio/transcriptions", content=content, headers=headers, timeout=stretched(30))


def check_refusal(response: httpx2.Response) -> None:
    assert 400 <= response.status_code < 500
    error = json.loads(response.content)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert isinstance(error["code"], str)


@pytest.mark.usefixtures("uncharged")
@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"{}", "application/json"),
        (VALID, "application/x-www-form-urlencoded"),
        (VALID, "multipart/form-data"),
        (VALID, "multipart/form-data; boundary=another"),
        (VALID, f"multipart/form-data; boundary={'b' * 500}"),
        (b"", FORM),
        (END, FORM),
        (field("model", MODEL.encode()) + END, FORM),
        (field("file", b"x") + END, FORM),
        (field("n" * 100_000, b"v") + END, FORM),
        (field("model", b"v" * 100_000) + END, FORM),
        (field("model", b"\xff\xfe") + END, FORM),
        (field("a", b"b") * 1000 + END, FORM),
        (field("file", b"x") * 2 + END, FORM),
        (field("model", b"x") * 2 + field("file", b"x") + END, FORM),
        (f"--{BOUNDARY}\r\n".encode() + b"Header: x\r\n" * 5000 + b"\r\n\r\n" + END, FORM),
        (NESTED, FORM),
        (field("file", b"eA==", "\r\nContent-Transfer-Encoding: base64") + END, FORM),
        (VALID.replace(b"\r\n", b"\n"), FORM),
    ],
)  # fmt: skip
def test_what_is_no_such_form_is_refused(real_mesh: LocalMesh, content: bytes, content_type: str) -> None:
    check_refusal(post(real_mesh, content, content_type))


@pytest.mark.usefixtures("uncharged")
def test_damaged_forms_are_refused(real_mesh: LocalMesh) -> None:
    choices = random.Random(4)
    for _ in range(60):
        content = bytearray(VALID)
        for _ in range(choices.randint(1, 8)):
            content[choices.randrange(len(content))] = choices.randrange(256)
        check_refusal(post(real_mesh, bytes(content[: choices.randint(1, len(content))])))
    assert httpx2.get(
        real_mesh.base_url + "/models", headers={"Authorization": f"Bearer {real_mesh.api_key}"}
    ).is_success


def test_names_of_files_and_fields_are_not_logged(real_mesh: LocalMesh) -> None:
    check_refusal(post(real_mesh, field("file", b"x", '; filename="canary-of-a-name') + END))
    logs = "".join(path.read_text(errors="replace") for path in real_mesh.state_dir.glob("logs/*.log"))
    assert "listening" in logs
    assert "canary-of-a-name" not in logs
