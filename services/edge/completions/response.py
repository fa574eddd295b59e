"""Renders legacy completions: whole bodies and the chunks of streams, which have the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from services.common.errors import MeshError
from services.edge.chat.response import DONE, FINISH_REASONS, system_fingerprint
from services.edge.http.errors import error_body
from services.edge.paid.delivery import Finished, receipt_body, usage_body
from services.edge.paid.hold import Receipt
from tiermesh.runner.v1 import runner_pb2

encode = msgspec.json.encode


def logprobs_body(tokens: Sequence[runner_pb2.TokenLogprob], offset: int) -> dict[str, Any]:
    """Returns the old form of log probabilities; `offset` counts the characters before the first token.

    A token that is not among its own alternatives, because it was not one of the most likely, is added to them.
    """
    body: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for token in tokens:
        top = {other.token: other.logprob for other in token.top}
        top.setdefault(token.token, token.logprob)
        body["tokens"].append(token.token)
        body["token_logprobs"].append(token.logprob)
        body["top_logprobs"].append(top)
        body["text_offset"].append(offset)
        offset += len(token.token)
    return body


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
    ) -> None:
        """`prompts` says how many there are; `echo` repeats that of each choice, in order, or is empty."""
        self._head = {
            "id": completion_id,
            "object": "text_completion",
            "created": created,
            "model": model,
            "system_fingerprint": system_fingerprint(model),
        }
        self._prompts = prompts
        self._echo = echo
        self._logprobs = logprobs
        # For each choice, how many characters of it have been sent.
        self._sent: dict[int, int] = {}
        # With usage asked for, every other chunk says that it has none.
        self._usage = usage

    def body(self, replies: list[runner_pb2.GenerateReply]) -> bytes:
        """Returns the whole body; `replies` holds the last reply of each choice, in order."""
        choices = []
        for index, reply in enumerate(replies):
            choice = self._choice(index, reply, FINISH_REASONS[reply.finish_reason])
            choices.append({**choice, "text": self._echo[index] + reply.text} if self._echo else choice)
        usage = usage_body((reply.usage for reply in replies), prompts=self._prompts)
        return encode({**self._head, "choices": choices, "usage": usage})

    def open(self) -> bytes:
        """Returns a chunk for each prompt that is to be repeated."""
        empty = {"logprobs": None, "finish_reason": None}
        return b"".join(self._chunk({"text": text, "index": index, **empty}) for index, text in enumerate(self._echo))

    def step(self, choice: int, reply: runner_pb2.GenerateReply) -> bytes:
        """Returns the chunk for one step, empty if the step shows nothing."""
        return self._chunk(self._choice(choice, reply, None)) if reply.text or reply.logprobs else b""

    def end(self, finished: Finished, receipt: Receipt) -> bytes:
        """Returns the chunks that end each choice, the usage if asked for, and the mark of the end."""
        ends = [
            self._chunk({"text": "", "index": index, "logprobs": None,
                         "finish_reason": FINISH_REASONS[finished[index].finish_reason]})
            for index in sorted(finished)
        ]  # fmt: skip
        if self._usage:
            usage = usage_body((finished[index].usage for index in sorted(finished)), prompts=self._prompts)
            ends.append(_event({**self._head, "choices": [], "usage": usage, "tiermesh": receipt_body(receipt)}))
        return b"".join(ends) + DONE

    def error(self, error: MeshError) -> bytes:
        """Returns the chunk that holds an error instead of choices."""
        return b"data: " + error_body(error) + b"\n\n"

    def _choice(self, index: int, reply: runner_pb2.GenerateReply, finish_reason: str | None) -> dict[str, Any]:
        offset = self._sent.get(index, 0)
        self._sent[index] = offset + len(reply.text)
        logprobs = logprobs_body(reply.logprobs, offset) if self._logprobs else None
        return {"text": reply.text, "index": index, "logprobs": logprobs, "finish_reason": finish_reason}

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        return _event({**self._head, "choices": [choice], **({"usage": None} if self._usage else {})})


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + encode(body) + b"\n\n"
