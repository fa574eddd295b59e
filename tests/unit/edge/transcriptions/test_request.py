"""Forms become calls, and mistakes name their field."""

from __future__ import annotations

import pytest

from services.common.catalog import Model
from services.common.errors import MeshError
from services.edge.transcriptions.form import Form
from services.edge.transcriptions.request import TranscriptionFields, read_fields, transcription_call
from tiermesh.runner.v1.runner_pb2 import TranscriptionTask

MODEL = Model(id="model", kind="transcription", tier="transcription", price=3)


def read(**fields: str | list[str]) -> TranscriptionFields:
    given = {name: [value] if isinstance(value, str) else value for name, value in fields.items()}
    return read_fields(Form({"model": ["model"], **given}, b"sound"))


def test_a_form_becomes_a_call() -> None:
    fields = read(language="en", temperature="0.5", prompt="Ada", stream="false", chunking_strategy="auto")
    call = transcription_call(Form(file=b"sound"), fields, MODEL, "r")
    assert call.transcription == TranscriptionTask(audio=b"sound", language="en", prompt="Ada", temperature=0.5)
    assert call.whole


def test_a_stream_is_not_whole() -> None:
    assert not transcription_call(Form(file=b"sound"), read(stream="true"), MODEL, "r").whole


def test_granularities() -> None:
    assert read(response_format="verbose_json").segments
    words = read(response_format="verbose_json", timestamp_granularities=["word"])
    assert (words.words, words.segments) == (True, False)
    both = read(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert (both.words, both.segments) == (True, True)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "hot"}, "temperature"), ({"temperature": "2"}, "temperature"),
        ({"response_format": "midi"}, "response_format"), ({"stream": "perhaps"}, "stream"),
        ({"model": ["a", "b"]}, "model"), ({"timestamp_granularities": ["letter"]}, "timestamp_granularities[0]"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"stream": "true", "response_format": "srt"}, "response_format"),
        ({"include": ["logprobs"]}, "include"), ({"include": ["everything"]}, "include[0]"),
        ({"chunking_strategy": '{"type": "server_vad"}'}, "chunking_strategy"),
        ({"known_speaker_names": ["Ada"]}, "known_speaker_names"),
        ({"known_speaker_references": ["data:audio/wav;base64,AAAA"]}, "known_speaker_references"),
    ],
)  # fmt: skip
def test_mistakes_name_their_field(fields: dict[str, str | list[str]], param: str) -> None:
    with pytest.raises(MeshError) as caught:
        read(**fields)
    assert caught.value.param.startswith(param.partition("[")[0])


def test_model_and_file_are_needed() -> None:
    with pytest.raises(MeshError, match="'model'"):
        read_fields(Form(file=b"sound"))
    for form in (Form(), Form(file=b"")):
        with pytest.raises(MeshError) as caught:
            transcription_call(form, read(), MODEL, "r")
        assert caught.value.param == "file"
