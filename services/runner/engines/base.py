"""The interface between the runner and whatever generates text, vectors, speech, transcripts or images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from services.common.catalog import Kind
from services.common.errors import MeshError
from services.common.settings import SettingsError

JobT_contra = TypeVar("JobT_contra", contravariant=True)
StepT_co = TypeVar("StepT_co", covariant=True)


class NotReadyError(SettingsError):
    """What an engine needs is not there yet; it can be started again later. The message says what it is."""


class Ticket(Protocol):
    """A job that an engine has accepted."""

    @property
    def progress(self) -> int:
        """Changes whenever the engine has come further with the job, or with one that the job waits for."""

    def cancel(self) -> None:
        """Stops the job: `emit` is not called again. Harmless after the end.

        Its slot becomes free at once, unless the engine is one that `FreesLater`.
        """


class Engine(Protocol[JobT_contra, StepT_co]):
    """Works on several jobs at once. All methods are called on the event loop's thread."""

    # A short name for logs and the registry.
    name: str
    # The kind of models that it runs.
    kind: Kind
    # Jobs that can run at once.
    slots: int
    # Tokens of prompt and answer together that one job may have; 0 if the kind knows no such bound.
    context: int

    async def start(self) -> None:
        """Loads the model and warms it up; raises with a clear message if it cannot.

        Raises NotReadyError if it may be able to later.
        """

    def submit(self, job: JobT_contra, emit: Callable[[StepT_co | MeshError], None]) -> Ticket:
        """Accepts a job; raises MeshError OVERLOADED when every slot is taken.

        What only the tokenizer can tell (CONTEXT_LENGTH_EXCEEDED) may also be emitted. Each accepted job ends exactly
        once: by a step with `finish_reason`, by an emitted MeshError, or by `Ticket.cancel`.
        """

    @property
    def active(self) -> int:
        """Jobs that occupy a slot now."""

    @property
    def healthy(self) -> bool:
        """Whether accepted jobs make progress; False asks for the process to be replaced."""

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE and frees the model."""


@runtime_checkable
class FreesLater(Protocol):
    """An engine that cannot be stopped at once: the slot of a cancelled job is taken until its work has ended."""

    def when_freed(self, call: Callable[[], None]) -> None:
        """Has `call` called, on the event loop's thread, whenever such a slot becomes free."""


# An engine of whichever kind the settings ask for: its jobs are made by the reader of that kind.
AnyEngine: TypeAlias = Engine[Any, Any]
