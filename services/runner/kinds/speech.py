"""Reading a text aloud."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from services.common.catalog import Model
from services.common.errors import MeshError
from services.common.extras import how_to_install
from services.runner.engines.base import Engine
from services.runner.kinds.base import FinishReason, TokenCounts, Work
from services.runner.refusals import invalid
from tiermesh.runner.v1 import runner_pb2

# OpenAI's bounds.
LONGEST_INPUT = 4096
SLOWEST, FASTEST = 0.25, 4.0
# Audio is counted in tokens of this many seconds, about as OpenAI's speech models count it.
SECONDS_PER_TOKEN = 0.05


@dataclass(frozen=True, slots=True)
class SpeechJob:
    """A text to speak."""

    # For logs only.
    request_id: str
    # At least one character that is not white space.
    input: str
    # One of the engine's voices.
    voice: str
    # One of the engine's formats.
    format: str
    # 1 is the voice's own pace.
    speed: float


@dataclass(slots=True)
class SpeechStep:
    """The next bytes of the encoded audio, perhaps none. Only the last step has `finish_reason` and `usage`."""

    audio: bytes
    finish_reason: FinishReason | None = None
    usage: TokenCounts | None = None


@runtime_checkable
class SpeechEngine(Engine[SpeechJob, SpeechStep], Protocol):
    """Speaks."""

    @property
    def voices(self) -> Collection[str]:
        """The names of its voices, in lower case."""

    @property
    def formats(self) -> Collection[str]:
        """The audio formats that this installation can make."""


class SpeechReader:
    """Reads the calls for one engine."""

    def __init__(self, voices: Collection[str], formats: Collection[str]) -> None:
        self._voices = voices
        self._formats = formats

    def read(self, call: runner_pb2.GenerateCall, model: Model) -> Work[SpeechJob, SpeechStep]:
        """Returns the work; raises MeshError INVALID_REQUEST with `param` for what is wrong with the call."""
        if not call.HasField("speech"):
            raise invalid(f"The model {model.id} only reads texts aloud. Use POST /v1/audio/speech.", "model")
        task = call.speech
        if not task.input.strip() or len(task.input) > LONGEST_INPUT:
            raise invalid(f"'input' must be a text of 1 to {LONGEST_INPUT} characters.", "input")
        voice = task.voice.strip().lower()
        if voice not in self._voices:
            raise invalid(
                f"This model does not have the voice in 'voice'. Use one of: {', '.join(self._voices)}.", "voice"
            )
        # Written so that NaN fails too.
        if not (math.isfinite(task.speed) and SLOWEST <= task.speed <= FASTEST):
            raise invalid(f"'speed' must be between {SLOWEST} and {FASTEST}.", "speed")
        job = SpeechJob(call.request_id, task.input, voice, self._format(task.format), task.speed)
        return Work(job, _Writer(call.id).write)

    def _format(self, name: str) -> str:
        if name not in self._formats:
            message = (
                f"This runner makes these formats: {', '.join(self._formats)}. For the others, its operator has to "
                f"{how_to_install('speech')}."
            )
            raise invalid(message, "response_format")
        return name


class _Writer:
    """Writes the replies of one call."""

    def __init__(self, call_id: int) -> None:
        self._id = call_id

    def write(self, step: SpeechStep | MeshError) -> runner_pb2.GenerateReply | None:
        if isinstance(step, MeshError):
            return runner_pb2.GenerateReply(id=self._id, error=step.to_proto())
        if step.finish_reason is None:
            return runner_pb2.GenerateReply(id=self._id, audio=step.audio) if step.audio else None
        usage = step.usage or TokenCounts(0, 0)
        return runner_pb2.GenerateReply(
            id=self._id,
            audio=step.audio,
            finish_reason=runner_pb2.FINISH_REASON_STOP,
            usage=runner_pb2.Usage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens),
        )
