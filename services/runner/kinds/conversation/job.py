"""What such an engine is asked to do, and what it answers: messages, functions and texts, without tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from services.runner.engines.base import Engine
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.job import Sampling
from services.runner.kinds.text.prompt.tools import Toolbox


@dataclass(frozen=True, slots=True)
class ConversationJob:
    """One answer to generate."""

    # For logs only.
    request_id: str
    # In OpenAI's form.
    messages: list[dict[str, Any]]
    sampling: Sampling
    toolbox: Toolbox = field(default_factory=Toolbox)
    # The JSON Schema that the answer must satisfy; None for free text.
    schema: dict[str, Any] | None = None
    # Most tokens to produce; None means as many as the context allows.
    max_tokens: int | None = None
    # Strings that end the answer, and are not part of it.
    stop: tuple[str, ...] = ()
    # Whether the model is to think, if that can be chosen, and how much: a degree that chat templates know, or "".
    thinking: bool = False
    effort: str = ""
    # What is read of its messages is kept for jobs of the same scope, and for no others.
    cache_scope: str = ""


@dataclass(frozen=True, slots=True)
class CallPart:
    """A part of one call; the first one of each call has its name."""

    # Which call of the answer it belongs to.
    index: int
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class ConversationStep:
    """The next part of an answer. The last one has `finish_reason` and `usage`."""

    text: str = ""
    reasoning: str = ""
    calls: list[CallPart] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    usage: TokenCounts | None = None
    # How many of the tokens were reasoning; only on the last step.
    reasoning_tokens: int = 0

    @property
    def empty(self) -> bool:
        """Whether it brings nothing that a client reads."""
        return not (self.text or self.reasoning or self.calls)


@runtime_checkable
class ConversationEngine(Engine[ConversationJob, ConversationStep], Protocol):
    """Answers conversations whose prompts it writes itself."""

    @property
    def takes_conversations(self) -> bool:
        """True: it tells such an engine from others."""
