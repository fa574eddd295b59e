"""What a call asks of an engine, whatever its kind: a job, and how the steps of the job become replies."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from services.common.catalog import Model
from services.common.errors import MeshError
from services.common.text_steps import AnyReply
from services.runner.engines.base import Ticket
from tiermesh.runner.v1.runner_pb2 import GenerateCall


class FinishReason(Enum):
    """Why an engine stopped by itself."""

    STOP = "stop"
    LENGTH = "length"


class TokenCounts(Struct, frozen=True):
    """Token counts; `completion_tokens` includes the resumed ones."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class AnyStep(Protocol):
    """What every kind of step has. Only the last one has `finish_reason` and `usage`."""

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the engine stopped; None before."""

    @property
    def usage(self) -> TokenCounts | None:
        """What was used, where it is counted."""


JobT = TypeVar("JobT")
StepT = TypeVar("StepT", bound=AnyStep)


class Work(Struct, Generic[JobT, StepT], frozen=True):
    """One call, ready to run."""

    job: JobT
    # Returns the reply to send for a step or an error, or None if there is nothing to send yet. After a text step, all
    # that it returns are further ones, and the last reply.
    write: Callable[[StepT | MeshError], AnyReply | None]
    # Is told the job's ticket before the first step, if what is written may end the job.
    begin: Callable[[Ticket], None] | None = None


class WorkReader(Protocol[JobT, StepT]):
    """Reads the calls for one kind of engine: the only way to a job, so that nothing unchecked can be scheduled."""

    def read(self, call: GenerateCall, model: Model) -> Work[JobT, StepT]:
        """Returns the work; raises MeshError, with `param`, for what is wrong with the call."""
