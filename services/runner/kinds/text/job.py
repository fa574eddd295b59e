"""What an engine is asked to do and what it answers, in tokens and text: an engine never sees OpenAI's shapes.

A `Job` is valid by construction: whoever builds one has checked ranges, rendered the prompt and compiled the grammar.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field

from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.prompt.controls import pieces


class Sampling(Struct, frozen=True):
    """How tokens are chosen, with OpenAI's meaning and OpenAI's defaults; what OpenAI does not have is off."""

    # 0 picks the most likely token always.
    temperature: float = 1.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    # None means a fresh seed.
    seed: int | None = None
    # Token id → value added to its logit, -100 to 100.
    logit_bias: dict[int, float] = field(default_factory=dict)
    # The most likely tokens that there are to choose from; 0 means all.
    top_k: int = 0
    # The least probability of a token, after the temperature, as a share of the most likely one's.
    min_p: float = 0.0
    # Divides positive logits, and multiplies negative ones, of every token in the prompt or the answer.
    repetition_penalty: float = 1.0


class Job(Struct, frozen=True):
    """One answer to generate."""

    # For logs only.
    request_id: str
    # The rendered prompt, control tokens included as text.
    prompt: str
    sampling: Sampling
    # Most tokens to produce, those of `resume_token_ids` included; None means as many as the context allows.
    max_tokens: int | None = None
    # None: no log probabilities; n: with the n most likely alternatives.
    logprobs: int | None = None
    # An llguidance grammar (Lark syntax) that the answer must match; empty means free text.
    grammar: str = ""
    # Tokens that an interrupted run has delivered already: generation goes on after them.
    resume_token_ids: tuple[int, ...] = ()
    # The prompt as tokens, to be taken as they are; `prompt` is their text. Empty if only the text was given.
    prompt_token_ids: tuple[int, ...] = ()
    # Encoded images (PNG, JPEG, WEBP or GIF) in the order of their markers in `prompt`.
    images: tuple[bytes, ...] = ()
    # Stands in `prompt` once for each image; random for each request, so that no user's text can forge it.
    image_marker: str = ""
    # Offsets in `prompt`, ascending, inside what spells a control token but is text of a client. What stands before and
    # after each of them is made tokens by itself.
    cuts: tuple[int, ...] = ()
    # What is read of this prompt is kept for jobs of the same scope, and for no others.
    cache_scope: str = ""
    # Whether the last step also has the log probabilities of the prompt's tokens. Such a job has `logprobs`, neither
    # images nor a grammar, and is not resumed; `max_tokens` may be 0.
    score_prompt: bool = False

    @property
    def prompt_parts(self) -> list[str]:
        """The text of the prompt before, between and after its images: one part more than there are images."""
        return self.prompt.split(self.image_marker) if self.images else [self.prompt]

    @property
    def prompt_pieces(self) -> list[list[str]]:
        """Each of the `prompt_parts` as the pieces that it is cut into: control tokens in them are meant as such."""
        found, begin = [], 0
        for part in self.prompt_parts:
            end = begin + len(part)
            found.append(pieces(part, [cut - begin for cut in self.cuts if begin < cut < end]))
            begin = end + len(self.image_marker)
        return found


class PromptTokens(Struct, frozen=True):
    """The tokens of a job's prompt, as its engine reads it."""

    # The `prompt_tokens` of the job's answer.
    count: int
    # In order; empty unless they are asked for, and for prompts with images, whose tokens stand for nothing elsewhere.
    token_ids: Sequence[int] = ()


class TopLogprob(Struct, frozen=True):
    """One alternative at one position; `logprob` is a natural logarithm, before sampling."""

    token: bytes
    logprob: float


class TokenLogprob(Struct, frozen=True):
    """The probability of one produced token, with the most likely alternatives, best first."""

    token: bytes
    logprob: float
    top: tuple[TopLogprob, ...] = ()


class Step(Struct):
    """What one engine iteration produced for one job. The last step has `finish_reason` and `usage`.

    It has one token, or several that make one character: an answer that a stop string ends is counted up to the step.
    """

    text: str = ""
    # The tokens behind exactly this text: tokens whose text is still held back come with the text.
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    usage: TokenCounts | None = None
    # One entry for each token of the prompt, of which the first has no probability; only on a last step.
    prompt_logprobs: list[TokenLogprob] = field(default_factory=list)
