"""The form of transcriptions, as OpenAI defines it. Unknown fields are tolerated, wrong values are not."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from services.common.catalog import Model
from services.edge.http.parsing import invalid, parse_fields
from services.edge.transcriptions.form import Form
from tiermesh.runner.v1 import runner_pb2

TranscriptFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity = Literal["word", "segment"]
# Fields that may be given several times.
_LISTS = frozenset({"timestamp_granularities", "include", "known_speaker_names", "known_speaker_references"})

_UNKNOWN = {
    "include": "log probabilities of transcripts are not known; 'verbose_json' has the mean of each segment",
    "known_speaker_names": "speakers are not told apart",
    "known_speaker_references": "speakers are not told apart",
}


class TranscriptionFields(Struct, frozen=True):
    """What the form says beside the file. None and absent mean the same for every optional field."""

    model: str
    language: Annotated[str, Meta(max_length=32)] | None = None
    prompt: Annotated[str, Meta(max_length=4096)] | None = None
    response_format: TranscriptFormat | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    timestamp_granularities: list[Granularity] = []
    stream: bool | None = None
    # What the models do not know: the one value that asks for nothing is taken, everything else is refused.
    chunking_strategy: Literal["auto"] | None = None
    include: list[Literal["logprobs"]] = []
    known_speaker_names: list[str] = []
    known_speaker_references: list[str] = []

    @property
    def words(self) -> bool:
        """Whether the times of words are wanted."""
        return "word" in self.timestamp_granularities

    @property
    def segments(self) -> bool:
        """Whether the times of phrases are wanted, as they are unless something else is."""
        return "segment" in self.timestamp_granularities or not self.timestamp_granularities


def read_fields(form: Form) -> TranscriptionFields:
    """Returns the fields; raises MeshError INVALID_REQUEST with `param`."""
    values: dict[str, Any] = {}
    for name, given in form.fields.items():
        if name not in _LISTS and len(given) > 1:
            raise invalid(name, "A field of the form is given more than once. Send it once.")
        values[name] = given if name in _LISTS else given[0]
    fields = parse_fields(values, TranscriptionFields)
    for name in ("include", "known_speaker_names", "known_speaker_references"):
        if getattr(fields, name):
            raise invalid(name, f"'{name}' is not supported: {_UNKNOWN[name]}; leave it out.")
    if fields.words and fields.response_format != "verbose_json":
        raise invalid(
            "timestamp_granularities", "'timestamp_granularities' needs 'response_format' to be verbose_json."
        )
    if fields.stream and fields.response_format not in {None, "json", "text"}:
        raise invalid("response_format", "With 'stream', 'response_format' must be json or text.")
    return fields


def transcription_call(
    form: Form, fields: TranscriptionFields, model: Model, request_id: str
) -> runner_pb2.GenerateCall:
    """Returns the call for the recording; raises MeshError INVALID_REQUEST if there is none."""
    if not form.file:
        raise invalid("file", "The field 'file' is missing or empty. Send a recording in it.")
    task = runner_pb2.TranscriptionTask(
        audio=form.file,
        language=fields.language or "",
        prompt=fields.prompt or "",
        temperature=fields.temperature or 0.0,
        words=fields.words,
    )
    return runner_pb2.GenerateCall(request_id=request_id, model=model.id, whole=not fields.stream, transcription=task)
