"""Writing down what is said in a recording."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from services.common.catalog import Model
from services.common.errors import MeshError
from services.runner.engines.base import Engine
from services.runner.kinds.base import FinishReason, TokenCounts, Work
from services.runner.refusals import invalid
from tiermesh.runner.v1 import runner_pb2

LONGEST_PROMPT = 4096


@dataclass(frozen=True, slots=True)
class TranscriptionJob:
    """A recording to write down."""

    # For logs only.
    request_id: str
    # The file as it was uploaded.
    audio: bytes
    # ISO 639-1; None means that the model finds out.
    language: str | None = None
    # Text that comes before, to guide style and spelling.
    prompt: str = ""
    # 0 picks the most likely words, and tries higher ones where those repeat themselves or are unlikely.
    temperature: float = 0.0
    # Whether the times of words are wanted.
    words: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """When a word is said, in seconds from the beginning."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A phrase; proto TranscriptSegment says what its fields mean."""

    start: float
    end: float
    text: str
    token_ids: tuple[int, ...]
    mean_logprob: float
    compression_ratio: float
    no_speech_probability: float
    temperature: float
    words: tuple[Word, ...] = ()


@dataclass(slots=True)
class TranscriptionStep:
    """The next phrase, or the end: only the last step has `finish_reason` and `usage`, and no phrase."""

    segment: Segment | None = None
    # ISO 639-1, and the length of the recording in seconds; of the last step.
    language: str = ""
    duration: float = 0.0
    finish_reason: FinishReason | None = None
    usage: TokenCounts | None = None


@runtime_checkable
class TranscriptionEngine(Engine[TranscriptionJob, TranscriptionStep], Protocol):
    """Writes down what is said."""

    @property
    def languages(self) -> Collection[str]:
        """The languages that its model knows, by ISO 639-1 code; known after `start`."""


class TranscriptionReader:
    """Reads the calls for one engine."""

    def __init__(self, languages: Collection[str]) -> None:
        self._languages = languages

    def read(self, call: runner_pb2.GenerateCall, model: Model) -> Work[TranscriptionJob, TranscriptionStep]:
        """Returns the work; raises MeshError INVALID_REQUEST with `param` for what is wrong with the call."""
        if not call.HasField("transcription"):
            raise invalid(
                f"The model {model.id} only transcribes recordings. Use POST /v1/audio/transcriptions.", "model"
            )
        task = call.transcription
        if not task.audio:
            raise invalid("'file' is empty. Send a recording.", "file")
        if len(task.prompt) > LONGEST_PROMPT:
            raise invalid(f"'prompt' must have at most {LONGEST_PROMPT} characters.", "prompt")
        # Written so that NaN fails too.
        if not 0 <= task.temperature <= 1:
            raise invalid("'temperature' must be between 0 and 1.", "temperature")
        job = TranscriptionJob(
            request_id=call.request_id,
            audio=task.audio,
            language=self._language(task.language),
            prompt=task.prompt,
            temperature=task.temperature,
            words=task.words,
        )
        return Work(job, _Writer(call).write)

    def _language(self, name: str) -> str | None:
        name = name.strip().lower()
        if name and name not in self._languages:
            known = ", ".join(sorted(self._languages))
            raise invalid(
                f"This model does not know the language in 'language'. Leave the field out, or send one of: {known}.",
                "language",
            )
        return name or None


class _Writer:
    """Writes the replies of one call.

    Each phrase is a delta with its tokens. When a call begins anew on another runner, what the client has already is
    told by its number of tokens, and left out.
    """

    def __init__(self, call: runner_pb2.GenerateCall) -> None:
        self._id = call.id
        self._whole = call.whole
        self._delivered = len(call.resume_token_ids)
        self._segments: list[Segment] = []

    def write(self, step: TranscriptionStep | MeshError) -> runner_pb2.GenerateReply | None:
        if isinstance(step, MeshError):
            return runner_pb2.GenerateReply(id=self._id, error=step.to_proto())
        if step.finish_reason is not None:
            return self._last(step)
        return self._next(step.segment) if step.segment is not None else None

    def _next(self, segment: Segment) -> runner_pb2.GenerateReply | None:
        self._segments.append(segment)
        if self._whole:
            return runner_pb2.GenerateReply(id=self._id, started=True) if len(self._segments) == 1 else None
        if self._delivered > 0:
            self._delivered -= len(segment.token_ids)
            return None
        # The first phrase begins with a space too, as words within a text do.
        text = segment.text if len(self._segments) > 1 else segment.text.lstrip()
        return runner_pb2.GenerateReply(id=self._id, text=text, token_ids=segment.token_ids)

    def _last(self, step: TranscriptionStep) -> runner_pb2.GenerateReply:
        usage = step.usage or TokenCounts(0, 0)
        transcript = runner_pb2.Transcript(
            text="".join(segment.text for segment in self._segments).strip(),
            language=step.language,
            duration=step.duration,
            segments=[_segment(segment) for segment in self._segments],
            words=[
                runner_pb2.TranscriptWord(start=word.start, end=word.end, word=word.text.strip())
                for segment in self._segments
                for word in segment.words
            ],
        )
        return runner_pb2.GenerateReply(
            id=self._id,
            transcript=transcript,
            finish_reason=runner_pb2.FINISH_REASON_STOP,
            usage=runner_pb2.Usage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens),
        )


def _segment(segment: Segment) -> runner_pb2.TranscriptSegment:
    return runner_pb2.TranscriptSegment(
        start=segment.start,
        end=segment.end,
        text=segment.text,
        mean_logprob=segment.mean_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_probability=segment.no_speech_probability,
        token_ids=segment.token_ids,
        temperature=segment.temperature,
    )
