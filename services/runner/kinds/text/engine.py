"""What an engine that generates text offers beyond what every engine does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, runtime_checkable

from services.common.errors import MeshError
from services.runner.engines.base import Engine, Ticket
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.job import Job, PromptTokens, Step

# Receives the steps of one job, in order, then nothing more after a step with `finish_reason` or an error.
# Always called on the event loop's thread. It must not raise.
Emit = Callable[[Step | MeshError], None]


@runtime_checkable
class TextTicket(Ticket, Protocol):
    """A job that an engine has accepted, whose answer can be cut short."""

    def finish(self, reason: FinishReason = FinishReason.LENGTH) -> None:
        """Ends the answer where it is, with its usage; does nothing if it has no token yet, or has ended.

        The last step may come later, and other steps before it.
        """


@runtime_checkable
class TextEngine(Engine[Job, Step], Protocol):
    """Generates text, token by token."""

    @property
    def chat_template(self) -> str:
        """The model's Jinja chat template."""

    @property
    def control_texts(self) -> Collection[str]:
        """What only the template may write, because the tokenizer reads control tokens in it; known after `start`."""

    @property
    def vocabulary(self) -> str:
        """A digest of what its tokens spell (`vocabulary_digest`); known after `start`."""

    def detokenize(self, token_ids: Sequence[int]) -> str:
        """Returns the text of tokens of an answer, so that a resumed answer can be parsed on from there.

        Raises MeshError INVALID_REQUEST for ids that this model does not have.
        """

    def tokenize(self, job: Job, *, bare: bool = False, listed: bool = False) -> PromptTokens:
        """Returns the tokens of a job's prompt, whether or not they fit into the context; takes no slot.

        It blocks, and is called on another thread than the event loop's, one call at a time. With `bare`, the tokens
        that the model puts before every prompt are left out; with `listed`, the tokens themselves are returned. Raises
        MeshError INVALID_REQUEST for images that the model cannot see or that cannot be decoded.
        """

    def token_texts(self, token_ids: Sequence[int]) -> list[str]:
        """Returns how the vocabulary writes each of some tokens of a prompt, control tokens included."""
