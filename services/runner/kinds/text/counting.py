"""Counts the tokens of prompts exactly as they would be read for an answer."""

from __future__ import annotations

from collections.abc import Callable

from services.common.catalog import Model
from services.common.limits.reply_sizes import largest_reply
from services.runner.kinds.text.engine import TextEngine
from services.runner.kinds.text.reader import RequestReader
from services.runner.refusals import unlistable
from tiermesh.runner.v1.runner_pb2 import GenerateCall, TokenCount


class PromptCounter:
    """Counts for one engine. It is used by one thread, which is not that of the answers.

    A chat template renders one conversation at a time, so there is a reader of its own for the counts.
    """

    def __init__(self, engine: TextEngine, new_reader: Callable[[], RequestReader]) -> None:
        """`new_reader` is called at the first count: to load a template takes a while."""
        self._engine = engine
        self._new_reader = new_reader
        self._reader: RequestReader | None = None

    def count(self, call: GenerateCall, model: Model) -> TokenCount:
        """Returns the count; blocks. Raises MeshError INVALID_REQUEST with `param` for what is wrong with the call."""
        if self._reader is None:
            self._reader = self._new_reader()
        task = call.token_count
        tokens = self._engine.tokenize(self._reader.read_prompt(call, model), bare=task.bare, listed=task.listed)
        texts = self._engine.token_texts(tokens.token_ids) if task.texts else ()
        count = TokenCount(tokens=tokens.count, token_ids=tokens.token_ids, token_texts=texts)
        if task.listed and count.ByteSize() > largest_reply(model):
            raise unlistable("prompt" if task.HasField("prompt") else "messages", tokens.count)
        return count
