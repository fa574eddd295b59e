"""Transcripts in every shape."""

from __future__ import annotations

import json
from typing import Any

from openai.types.audio import TranscriptionVerbose

from services.common.errors import Code, MeshError
from services.edge.paid.hold import Receipt
from services.edge.transcriptions.request import TranscriptionFields
from services.edge.transcriptions.response import TranscriptEvents, transcription_body
from tiermesh.runner.v1.runner_pb2 import GenerateReply, Transcript, TranscriptSegment, TranscriptWord, Usage

LAST = GenerateReply(
    transcript=Transcript(
        text="Good day. A < B & C",
        language="en",
        duration=3725.5,
        segments=[
            TranscriptSegment(start=0, end=1.0004, text=" Good\nday.", token_ids=[7, 8], mean_logprob=-0.1),
            TranscriptSegment(start=3661.25, end=3725.5, text=" A < B & C"),
        ],
        words=[TranscriptWord(start=0, end=0.5, word="Good")],
    ),
    usage=Usage(prompt_tokens=186275, completion_tokens=4),
)


def body(**fields: Any) -> str:
    return transcription_body(TranscriptionFields(model="model", **fields), [LAST]).decode()


def test_json_and_text() -> None:
    assert json.loads(body()) == {
        "text": "Good day. A < B & C",
        "usage": {"type": "duration", "seconds": 3725.5},
    }
    assert body(response_format="text") == "Good day. A < B & C\n"


def test_srt() -> None:
    assert body(response_format="srt") == (
        "1\n00:00:00,000 --> 00:00:01,000\nGood day.\n\n2\n01:01:01,250 --> 01:02:05,500\nA < B & C\n\n"
    )


def test_vtt() -> None:
    assert body(response_format="vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nGood day.\n\n01:01:01.250 --> 01:02:05.500\nA &lt; B &amp; C\n\n"
    )


def test_verbose_json_is_what_the_sdk_knows() -> None:
    verbose = TranscriptionVerbose.model_validate_json(body(response_format="verbose_json"), strict=True)
    assert verbose.language == "english"
    assert verbose.segments is not None
    assert verbose.segments[0].tokens == [7, 8]
    assert verbose.words is None
    words = json.loads(body(response_format="verbose_json", timestamp_granularities=["word"]))
    assert words["words"] == [{"word": "Good", "start": 0.0, "end": 0.5}]
    assert "segments" not in words


def events(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(event.removeprefix(b"data: ")) for event in content.split(b"\n\n") if event]


def test_a_stream_has_deltas_and_an_end() -> None:
    renderer = TranscriptEvents()
    stream = renderer.open() + renderer.step(0, GenerateReply(text="Good day.")) + renderer.step(0, GenerateReply())
    delta, done = events(stream + renderer.end({0: LAST}, Receipt(3, 0)))
    assert delta == {"type": "transcript.text.delta", "delta": "Good day."}
    assert done["text"] == "Good day. A < B & C"
    assert done["usage"]["total_tokens"] == 186279
    assert done["tiermesh"] == {"credits_charged": 3, "credits_remaining": 0}


def test_a_stream_of_silence_still_has_a_delta() -> None:
    delta, done = events(TranscriptEvents().end({0: GenerateReply()}, Receipt(0, 0)))
    assert delta == {"type": "transcript.text.delta", "delta": ""}
    assert done["text"] == ""


def test_a_failure_is_an_event() -> None:
    (event,) = events(TranscriptEvents().error(MeshError(Code.UNAVAILABLE, "Try again.")))
    assert event["error"]["message"] == "Try again."
