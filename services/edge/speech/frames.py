"""The two ways in which audio travels: as the file itself, and as OpenAI's server-sent events."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from services.common.errors import MeshError
from services.edge.http.errors import error_body
from services.edge.paid.delivery import receipt_body
from services.edge.paid.hold import Receipt
from services.edge.speech.request import AudioFormat
from tiermesh.runner.v1.runner_pb2 import GenerateReply

CONTENT_TYPES: Mapping[AudioFormat, str] = {
    "mp3": "audio/mpeg",
    # Opus comes in an Ogg file (RFC 7845).
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


class Frames(Protocol):
    """How one answer is written."""

    content_type: str

    def piece(self, audio: bytes) -> bytes:
        """Returns what is sent for the next bytes of the file."""

    def end(self, last: GenerateReply, receipt: Receipt) -> bytes:
        """Returns what is sent once the answer is paid: its last bytes, up to the end of the stream."""

    def error(self, error: MeshError) -> bytes:
        """Returns what tells the client of a failure; nothing if the end of the connection must tell it."""


class AudioFile:
    """The file itself."""

    def __init__(self, name: AudioFormat) -> None:
        self.content_type = CONTENT_TYPES[name]

    def piece(self, audio: bytes) -> bytes:
        """Returns the bytes themselves."""
        return audio

    def end(self, last: GenerateReply, receipt: Receipt) -> bytes:
        """Returns the last bytes; a file has no place for the receipt."""
        del receipt
        return last.audio

    def error(self, error: MeshError) -> bytes:
        """Returns nothing: a file has no place for it."""
        del error
        return b""


class AudioEvents:
    """Events of type `speech.audio.delta`, and one `speech.audio.done`."""

    content_type = "text/event-stream"

    def piece(self, audio: bytes) -> bytes:
        """Returns the event for the next bytes of the file."""
        return _event({"type": "speech.audio.delta", "audio": base64.b64encode(audio).decode()})

    def end(self, last: GenerateReply, receipt: Receipt) -> bytes:
        """Returns the event for the last bytes, if there are any, and the one that ends the stream."""
        usage = last.usage
        done = {
            "type": "speech.audio.done",
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "output_tokens": usage.completion_tokens,
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
            "tiermesh": receipt_body(receipt),
        }
        return (self.piece(last.audio) if last.audio else b"") + _event(done)

    def error(self, error: MeshError) -> bytes:
        """Returns the event that holds an error."""
        return b"data: " + error_body(error) + b"\n\n"


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
