"""What engines that take conversations do not do, because their servers do not: one table for code, tests and docs.

docs/upstream.md shows it, and the contract suite of engines reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.common.errors import MeshError
from services.runner.refusals import not_served


@dataclass(frozen=True, slots=True)
class Refused:
    """What a request may not ask for: it is refused before the server is asked."""

    # In Markdown, for people.
    what: str
    # The field that the refusal names, and why.
    param: str
    reason: str

    def refusal(self) -> MeshError:
        """Returns the refusal."""
        return not_served(self.param, self.reason)


@dataclass(frozen=True, slots=True)
class Differs:
    """What a request cannot ask for, so that nothing can be refused, but what other engines do."""

    # In Markdown, for people.
    what: str
    instead: str


LOGPROBS = Refused("`logprobs`", "logprobs", "its server gives no log probabilities")
LOGIT_BIAS = Refused("`logit_bias`", "logit_bias", "its server has other token ids")
IMAGES = Refused("images in messages", "messages", "it cannot see images")
GRAMMARS = Refused(
    "functions with a grammar (custom tools with `format`)", "tools", "its server enforces no grammars of functions"
)
COMPLETIONS = Refused(
    "prompts of `POST /v1/completions`",
    "prompt",
    "it answers conversations only; use POST /v1/chat/completions",
)
COUNTS = Refused("token counts (`POST /tokenize` and others)", "model", "its server writes the prompts")
TOP_K = Refused("`top_k`", "top_k", "its server may ignore it")
MIN_P = Refused("`min_p`", "min_p", "its server may ignore it")
REPETITION_PENALTY = Refused("`repetition_penalty`", "repetition_penalty", "its server may ignore it")
SEED = Refused("`seed`", "seed", "its server ignores it")
# Whatever the server is.
ALWAYS = (LOGPROBS, LOGIT_BIAS, IMAGES, GRAMMARS, COMPLETIONS, COUNTS)
# By the kind of the server: services/runner/engines/upstream/quirks.py.
BY_SERVER = (TOP_K, MIN_P, REPETITION_PENALTY, SEED)

RESUMING = Differs(
    "interrupted answers",
    "one that has not begun moves to another runner; one that has begun ends with an error and is not charged, because "
    "the tokens of a server are not known",
)
SHAPES = Differs(
    "forced calls and schemas",
    "the server is asked to enforce them and the result is checked; what does not follow them is a failure and is not "
    "charged",
)
STOP_STRINGS = Differs(
    "which stop string ended an answer", "it is not known, so `/v1/messages` reports `end_turn` for it"
)
TIME_LIMIT = Differs(
    "an answer that reaches the time limit of its request",
    "it ends with an error and is not charged, because its tokens are not counted yet",
)
CONTROL_TOKENS = Differs(
    "control tokens that a client writes in a message", "the server decides whether they are text for the model"
)
DIFFERENCES = (RESUMING, SHAPES, STOP_STRINGS, TIME_LIMIT, CONTROL_TOKENS)
