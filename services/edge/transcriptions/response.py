"""Renders transcripts in OpenAI's shapes."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from services.common.errors import MeshError
from services.common.text_steps import AnyReply
from services.edge.http.errors import error_body
from services.edge.paid.delivery import Finished, receipt_body
from services.edge.paid.hold import Receipt
from services.edge.transcriptions.request import TranscriptionFields
from services.edge.transcriptions.subtitles import srt, vtt
from tiermesh.runner.v1.runner_pb2 import GenerateReply, Transcript, TranscriptSegment

CONTENT_TYPES = {
    "json": "application/json",
    "verbose_json": "application/json",
    "text": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
}
# verbose_json spells the language out; one that is not here goes by its code.
_LANGUAGES = {
    "ar": "arabic", "de": "german", "en": "english", "es": "spanish", "fr": "french", "hi": "hindi", "it": "italian",
    "ja": "japanese", "ko": "korean", "nl": "dutch", "pl": "polish", "pt": "portuguese", "ru": "russian",
    "tr": "turkish", "uk": "ukrainian", "zh": "chinese",
}  # fmt: skip


class TranscriptUsage(Struct, frozen=True):
    """How long the recording is, in seconds."""

    type: Literal["duration"]
    seconds: float


class TranscribedWord(Struct, frozen=True):
    """When a word was said, in seconds from the beginning."""

    word: str
    start: float
    end: float


class TranscribedSegment(Struct, frozen=True):
    """When a phrase was said, in seconds from the beginning, and how sure the model is of it."""

    id: int
    # Where the window of the model began that it was found in: not known here.
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class Transcription(Struct, frozen=True, kw_only=True):
    """What was said; `verbose_json` adds the language, the duration and when each phrase or word was said."""

    task: Literal["transcribe"] | UnsetType = UNSET
    language: str | UnsetType = UNSET
    duration: float | UnsetType = UNSET
    text: str
    segments: list[TranscribedSegment] | UnsetType = UNSET
    words: list[TranscribedWord] | UnsetType = UNSET
    usage: TranscriptUsage


def transcription_body(fields: TranscriptionFields, replies: list[GenerateReply]) -> bytes:
    """Returns the whole body in the format that was asked for."""
    transcript = replies[0].transcript
    if fields.response_format == "text":
        return transcript.text.encode() + b"\n"
    if fields.response_format == "srt":
        return srt(transcript).encode()
    if fields.response_format == "vtt":
        return vtt(transcript).encode()
    usage = TranscriptUsage("duration", round(transcript.duration, 2))
    if fields.response_format == "verbose_json":
        return msgspec.json.encode(_verbose(transcript, fields, usage))
    return msgspec.json.encode(Transcription(text=transcript.text, usage=usage))


def _verbose(transcript: Transcript, fields: TranscriptionFields, usage: TranscriptUsage) -> Transcription:
    segments = [_segment(index, segment) for index, segment in enumerate(transcript.segments)]
    words = [TranscribedWord(word.word, round(word.start, 3), round(word.end, 3)) for word in transcript.words]
    return Transcription(
        task="transcribe",
        language=_LANGUAGES.get(transcript.language, transcript.language),
        duration=round(transcript.duration, 3),
        text=transcript.text,
        segments=segments if fields.segments else UNSET,
        words=words if fields.words else UNSET,
        usage=usage,
    )


def _segment(index: int, segment: TranscriptSegment) -> TranscribedSegment:
    return TranscribedSegment(
        id=index,
        seek=0,
        start=round(segment.start, 3),
        end=round(segment.end, 3),
        text=segment.text,
        tokens=list(segment.token_ids),
        temperature=round(segment.temperature, 3),
        avg_logprob=round(segment.mean_logprob, 6),
        compression_ratio=round(segment.compression_ratio, 6),
        no_speech_prob=round(segment.no_speech_probability, 6),
    )


class TranscriptEvents:
    """Renders the server-sent events of one stream: deltas, at least one, then the whole text."""

    def __init__(self) -> None:
        self._begun = False

    def open(self) -> bytes:
        """Returns nothing: the first delta opens the stream."""
        return b""

    def step(self, choice: int, reply: AnyReply) -> bytes:
        """Returns the event for a phrase, empty if the step has none."""
        del choice
        return self._delta(reply.text) if reply.text else b""

    def end(self, finished: Finished, receipt: Receipt) -> bytes:
        """Returns the event that ends the stream."""
        last = finished[0]
        audio, text = last.usage.prompt_tokens, last.usage.completion_tokens
        done = {
            "type": "transcript.text.done",
            "text": last.transcript.text,
            "usage": {
                "type": "tokens",
                "input_tokens": audio,
                "output_tokens": text,
                "total_tokens": audio + text,
                "input_token_details": {"audio_tokens": audio, "text_tokens": 0},
            },
            "tiermesh": receipt_body(receipt),
        }
        return (b"" if self._begun else self._delta("")) + _event(done)

    def error(self, error: MeshError) -> bytes:
        """Returns the event that holds an error."""
        return b"data: " + error_body(error) + b"\n\n"

    def _delta(self, text: str) -> bytes:
        self._begun = True
        return _event({"type": "transcript.text.delta", "delta": text})


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
