"""What the runners of one choice have delivered, as far as it is what they were asked for."""

from __future__ import annotations

import sys
from array import array

from services.common.catalog import Model
from services.common.text_digest import text_digest
from services.common.text_steps import AnyReply, TextStep
from tiermesh.runner.v1.runner_pb2 import GenerateCall

# A token is rarely longer than a few characters; what is far beyond that is no answer of a language model. A step
# without text counts with its bytes, which a list of log probabilities makes many.
_BYTES_PER_TOKEN = 4096
_FIRST_BYTES = 65_536
# What may be in a reply of each kind, next to what may be in any.
_ANY = {"id", "started", "finish_reason", "usage"}
_FIELDS = {
    "chat": _ANY | {"text", "reasoning", "tool_calls", "token_ids", "logprobs", "prompt_logprobs", "stop"},
    "embedding": _ANY | {"embeddings"},
    "speech": _ANY | {"audio"},
    "transcription": _ANY | {"text", "token_ids", "transcript"},
    "image": _ANY | {"image"},
}


class Output:
    """The tokens and texts of one choice, over all runners that had a part in it."""

    __slots__ = ("_fields", "_most_size", "_most_tokens", "_size", "_streamed", "_text", "final", "token_ids")

    def __init__(self, model: Model, call: GenerateCall) -> None:
        # Another runner goes on after these. A list of tokens and one of their texts would take ten times as much, for
        # each answer in progress.
        self.token_ids = array("I")
        self._text = bytearray()
        # Whether something has come after which no other runner could go on: audio, or text without its tokens.
        self.final = False
        self._streamed = model.kind == "chat" and not call.whole
        self._size = 0
        self._fields = _FIELDS[model.kind]
        # Other kinds are bounded by the size of their frames.
        self._most_tokens = self._most_size = sys.maxsize
        if model.kind == "chat":
            self._most_tokens = call.max_tokens or model.context
            self._most_size = self._most_tokens * _BYTES_PER_TOKEN + _FIRST_BYTES
            if call.completion.score_prompt:
                self._most_tokens = 0 if call.completion.only_score else self._most_tokens
                # The scores of the prompt count with their bytes.
                self._most_size += model.context * _BYTES_PER_TOKEN

    def take(self, reply: AnyReply) -> str:
        """Adds a step, or returns what is wrong with it and leaves it out."""
        # Most replies are a token and its text; this runs for each.
        new, text = reply.token_ids[:], reply.text
        if (not new or reply.finish_reason) and not self._has_only_its_kind(reply):
            return "another kind of output"
        if reasoning := reply.reasoning:
            # It precedes the answer, within a step too.
            text = reasoning + text
        size = self._size + (len(text) or reply.ByteSize())
        if size > self._most_size or len(self.token_ids) + len(new) > self._most_tokens:
            return "more output than requested"
        if not new and (reply.audio or (self._streamed and (text or reply.tool_calls))):
            self.final = True
        self._size = size
        self.token_ids.extend(new)
        self._text += text.encode()
        return ""

    def text_digest(self) -> bytes:
        """Returns a digest of reasoning and answer, for a runner that is to go on after the tokens."""
        return text_digest(self._text.decode())

    def _has_only_its_kind(self, reply: AnyReply) -> bool:
        if isinstance(reply, TextStep):
            return "text" in self._fields
        for field, _ in reply.ListFields():  # noqa: SIM110 - a generator takes twice as long, for each whole answer
            if field.name not in self._fields:
                return False
        return True
