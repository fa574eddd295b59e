"""Renders legacy completions: whole bodies and the chunks of streams, which have the same shape."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from services.common.errors import Code, MeshError
from services.common.text_steps import AnyReply
from services.edge.chat.completion import FinishReason
from services.edge.chat.response import DONE, FINISH_REASONS, system_fingerprint
from services.edge.http.errors import error_body
from services.edge.paid.delivery import ChargedCredits, Finished, TokenUsage, receipt_body, usage_body
from services.edge.paid.hold import Receipt
from tiermesh.runner.v1 import runner_pb2

encode = msgspec.json.encode
_new_decoder = codecs.getincrementaldecoder("utf-8")


class TextLogprobs(Struct, frozen=True, forbid_unknown_fields=True):
    """The tokens of a text and where they begin in it, in characters."""

    tokens: list[str]
    # Of a prompt that is repeated, the first token follows nothing: it has no probability and no alternatives.
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class TextChoice(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the continuations, or in a stream what is added to it."""

    text: str
    index: int
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None


class TextCompletion(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole continuation, or one event of a stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[TextChoice]
    usage: TokenUsage | UnsetType | None = UNSET
    tiermesh: ChargedCredits | UnsetType = UNSET


def logprobs_body(
    tokens: Sequence[runner_pb2.TokenLogprob], offset: int, *, from_beginning: bool = False
) -> TextLogprobs:
    """Returns the old form of log probabilities; `offset` counts the characters before the first token.

    With `from_beginning`, nothing precedes the first token, which then has no probability.

    A token that is not among its own alternatives, because it was not one of the most likely, is added to them.
    """
    body = TextLogprobs([], [], [], [])
    # Several tokens may make one character, which is counted with the last of them.
    decoder = _new_decoder(errors="replace")
    for token in tokens:
        name = _name(token)
        top = {_name(other): other.logprob for other in token.top}
        top.setdefault(name, token.logprob)
        body.tokens.append(name)
        body.token_logprobs.append(token.logprob)
        body.top_logprobs.append(top)
        body.text_offset.append(offset)
        offset += len(decoder.decode(token.token_bytes))
    if from_beginning:
        body.token_logprobs[0] = body.top_logprobs[0] = None
    return body


def _name(token: runner_pb2.TokenLogprob | runner_pb2.TopLogprob) -> str:
    """Returns the text of a token or, as OpenAI writes it, the bytes of one that is not text by itself."""
    try:
        return token.token_bytes.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.token_bytes)


class CompletionRenderer:
    """Renders one answer, whole or as a stream that ends with a chunk of `usage` if asked for."""

    def __init__(
        self,
        completion_id: str,
        model: str,
        created: int,
        *,
        prompts: int,
        echo: Sequence[str],
        logprobs: bool,
        usage: bool,
        scored: bool = False,
    ) -> None:
        """`prompts` says how many there are; `echo` repeats that of each choice, in order, or is empty.

        `scored` says that the answer has the log probabilities of the prompts. A prompt that was given as tokens is
        repeated as their text.
        """
        self._id = completion_id
        self._model = model
        self._created = created
        self._fingerprint = system_fingerprint(model)
        self._prompts = prompts
        self._echo = echo
        self._logprobs = logprobs
        self._scored = scored
        # For each choice, how many characters of it have been sent.
        self._sent: dict[int, int] = {}
        # With usage asked for, every other chunk says that it has none.
        self._usage = usage

    def body(self, replies: list[runner_pb2.GenerateReply]) -> bytes:
        """Returns the whole body; `replies` holds the last reply of each choice, in order."""
        choices = [
            self._choice(index, reply, FINISH_REASONS[reply.finish_reason], self._echo[index] if self._echo else "")
            for index, reply in enumerate(replies)
        ]
        return encode(self._completion(choices, self._usage_of(replies)))

    def open(self) -> bytes:
        """Returns a chunk for each prompt that is to be repeated."""
        return b"".join(self._chunk(TextChoice(text, index, None, None)) for index, text in enumerate(self._echo))

    def step(self, choice: int, reply: AnyReply) -> bytes:
        """Returns the chunk for one step, empty if the step shows nothing."""
        return self._chunk(self._choice(choice, reply, None)) if reply.text or reply.logprobs else b""

    def end(self, finished: Finished, receipt: Receipt) -> bytes:
        """Returns the chunks that end each choice, the usage if asked for, and the mark of the end."""
        ends = [
            self._chunk(TextChoice("", index, None, FINISH_REASONS[finished[index].finish_reason]))
            for index in sorted(finished)
        ]
        if self._usage:
            usage = self._usage_of([finished[index] for index in sorted(finished)])
            ends.append(_event(self._completion([], usage, receipt_body(receipt))))
        return b"".join(ends) + DONE

    def error(self, error: MeshError) -> bytes:
        """Returns the chunk that holds an error instead of choices."""
        return b"data: " + error_body(error) + b"\n\n"

    def _choice(self, index: int, reply: AnyReply, finish_reason: FinishReason | None, echo: str = "") -> TextChoice:
        offset = self._sent.get(index, 0)
        self._sent[index] = offset + len(reply.text)
        if self._scored:
            return _scored_choice(index, reply, finish_reason, echo)
        logprobs = logprobs_body(reply.logprobs, offset) if self._logprobs else None
        return TextChoice(echo + reply.text, index, logprobs, finish_reason)

    def _usage_of(self, replies: Sequence[runner_pb2.GenerateReply]) -> TokenUsage:
        return usage_body([reply.usage for reply in replies], prompts=self._prompts)

    def _chunk(self, choice: TextChoice) -> bytes:
        return _event(self._completion([choice], None if self._usage else UNSET))

    def _completion(
        self,
        choices: list[TextChoice],
        usage: TokenUsage | UnsetType | None,
        charged: ChargedCredits | UnsetType = UNSET,
    ) -> TextCompletion:
        return TextCompletion(
            id=self._id,
            object="text_completion",
            created=self._created,
            model=self._model,
            system_fingerprint=self._fingerprint,
            choices=choices,
            usage=usage,
            tiermesh=charged,
        )


def _scored_choice(index: int, reply: AnyReply, finish_reason: FinishReason | None, echo: str) -> TextChoice:
    """Returns the prompt and its continuation; raises MeshError if the time was over before there was all of it."""
    scores = reply.prompt_logprobs
    if not scores:
        raise MeshError(Code.DEADLINE_EXCEEDED, "The prompt could not be scored in time. Send less at once.")
    echo = echo or b"".join(token.token_bytes for token in scores).decode(errors="replace")
    logprobs = logprobs_body([*scores, *reply.logprobs], 0, from_beginning=True)
    return TextChoice(echo + reply.text, index, logprobs, finish_reason)


def _event(body: TextCompletion) -> bytes:
    return b"data: " + encode(body) + b"\n\n"
