"""The interface between the runner and whatever generates tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from services.common.errors import MeshError
from services.runner.job import Job, Step

# Receives the steps of one job, in order, then nothing more after a step with `finish_reason` or an error.
# Always called on the event loop's thread. It must not raise.
Emit = Callable[[Step | MeshError], None]


class Ticket(Protocol):
    """A job that an engine has accepted."""

    def cancel(self) -> None:
        """Stops the job at once: its slot becomes free and `emit` is not called again. Harmless after the end."""


class Engine(Protocol):
    """Generates tokens for several jobs at once. All methods are called on the event loop's thread."""

    # A short name for logs and the registry.
    name: str
    # Jobs that can run at once.
    slots: int
    # Tokens of prompt and answer together that one job may have.
    context: int

    async def start(self) -> None:
        """Loads the model and warms it up; raises with a clear message if it cannot."""

    def submit(self, job: Job, emit: Emit) -> Ticket:
        """Accepts a job; raises MeshError OVERLOADED when every slot is taken.

        What only the tokenizer can tell (CONTEXT_LENGTH_EXCEEDED) may also be emitted. Each accepted job ends exactly
        once: by a step with `finish_reason`, by an emitted MeshError, or by `Ticket.cancel`.
        """

    @property
    def active(self) -> int:
        """Jobs that occupy a slot now."""

    @property
    def chat_template(self) -> str:
        """The model's Jinja chat template."""

    @property
    def healthy(self) -> bool:
        """Whether accepted jobs make progress; False asks for the process to be replaced."""

    def detokenize(self, token_ids: Sequence[int]) -> str:
        """Returns the text of tokens of an answer, so that a resumed answer can be parsed on from there.

        Raises MeshError INVALID_REQUEST for ids that this model does not have.
        """

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE and frees the model."""
