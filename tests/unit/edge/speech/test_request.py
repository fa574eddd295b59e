"""Bodies become calls, and mistakes name their field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.common.catalog import Model
from services.common.errors import MeshError
from services.edge.http.parsing import parse_body
from services.edge.speech.request import speech_call, speech_decoder
from tiermesh.runner.v1.runner_pb2 import SpeechTask

MODEL = Model(id="model", kind="speech", tier="speech", price=3)


def read(**fields: Any) -> SpeechTask:
    body = {"model": "model", "input": "Hello", "voice": "alloy", **fields}
    return speech_call(parse_body(json.dumps(body).encode(), speech_decoder), MODEL, "r").speech


def test_openais_defaults() -> None:
    assert read() == SpeechTask(input="Hello", voice="alloy", format="mp3", speed=1.0)
    assert read(response_format=None, speed=None, instructions=None, stream_format=None) == read()


def test_a_voice_may_be_an_object() -> None:
    assert read(voice={"id": "nova"}).voice == "nova"


def test_4096_characters_are_allowed() -> None:
    assert len(read(input="ß" * 4096).input) == 4096


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"), ({"input": " \n"}, "input"), ({"input": "a" * 4097}, "input"),
        ({"input": 5}, "input"),
        ({"voice": ""}, "voice"), ({"voice": None}, "voice"), ({"voice": {"name": "x"}}, "voice.id"),
        ({"response_format": "midi"}, "response_format"), ({"speed": 0.2}, "speed"), ({"speed": 5}, "speed"),
        ({"speed": "fast"}, "speed"), ({"stream_format": "websocket"}, "stream_format"),
        ({"instructions": 5}, "instructions"),
    ],
)  # fmt: skip
def test_mistakes_name_their_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(MeshError) as caught:
        read(**fields)
    assert caught.value.param == param
