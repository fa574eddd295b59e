"""Audio as a file and as events."""

from __future__ import annotations

import base64
import json
from typing import Any

from services.common.errors import Code, MeshError
from services.edge.paid.hold import Receipt
from services.edge.speech.frames import AudioEvents, AudioFile
from tiermesh.runner.v1.runner_pb2 import GenerateReply, Usage

RECEIPT = Receipt(3, 97)
LAST = GenerateReply(audio=b"end", usage=Usage(prompt_tokens=2, completion_tokens=40))


def events(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(event.removeprefix(b"data: ")) for event in content.split(b"\n\n") if event]


def test_a_file_is_its_bytes() -> None:
    frames = AudioFile("opus")
    assert frames.content_type == "audio/ogg"
    assert frames.piece(b"abc") + frames.end(LAST, RECEIPT) == b"abcend"
    assert frames.error(MeshError(Code.INTERNAL, "no")) == b""


def test_events_are_openais() -> None:
    frames = AudioEvents()
    delta, end, done = events(frames.piece(b"abc") + frames.end(LAST, RECEIPT))
    assert delta == {"type": "speech.audio.delta", "audio": base64.b64encode(b"abc").decode()}
    assert base64.b64decode(end["audio"]) == b"end"
    assert done == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 2, "output_tokens": 40, "total_tokens": 42},
        "tiermesh": {"credits_charged": 3, "credits_remaining": 97},
    }


def test_the_end_without_audio_is_one_event() -> None:
    (done,) = events(AudioEvents().end(GenerateReply(), RECEIPT))
    assert done["type"] == "speech.audio.done"


def test_an_error_is_an_event() -> None:
    (event,) = events(AudioEvents().error(MeshError(Code.UNAVAILABLE, "Try again.")))
    assert event["error"]["message"] == "Try again."
