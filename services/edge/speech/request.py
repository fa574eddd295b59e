"""The body of POST /v1/audio/speech, as OpenAI defines it. Unknown fields are tolerated, wrong types are not."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from services.common.catalog import Model
from services.edge.http.parsing import invalid
from tiermesh.runner.v1 import runner_pb2

AudioFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
VoiceName = Annotated[str, Meta(min_length=1, max_length=256)]


class VoiceReference(Struct, frozen=True):
    """A voice, as an object."""

    id: VoiceName


class SpeechBody(Struct, frozen=True):
    """The whole body. None and absent mean the same for every optional field."""

    model: str
    input: Annotated[str, Meta(max_length=4096)]
    voice: VoiceName | VoiceReference
    response_format: AudioFormat | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    instructions: Annotated[str, Meta(max_length=4096)] | None = None
    stream_format: Literal["audio", "sse"] | None = None


speech_decoder = msgspec.json.Decoder(SpeechBody)


def speech_call(body: SpeechBody, model: Model, request_id: str) -> runner_pb2.GenerateCall:
    """Returns the call for the whole text; raises MeshError INVALID_REQUEST if there is nothing to read."""
    if not body.input.strip():
        raise invalid("input", "'input' must contain text to read aloud.")
    task = runner_pb2.SpeechTask(
        input=body.input,
        voice=body.voice if isinstance(body.voice, str) else body.voice.id,
        format=body.response_format or "mp3",
        speed=1.0 if body.speed is None else body.speed,
        instructions=body.instructions or "",
    )
    return runner_pb2.GenerateCall(request_id=request_id, model=model.id, speech=task)
