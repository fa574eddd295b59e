"""What a runner's engine finds in a model file, for whoever decides how the model is served."""

from __future__ import annotations

from typing import Literal

import msgspec

# Whether a model thinks before it answers; with `optional`, that can be chosen for each request.
Thinking = Literal["never", "optional", "always"]


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a file that can be served."""

    # What the file calls its model; empty if it does not say.
    title: str
    # The size of the file, in bytes: what the weights take in memory.
    size: int
    # The longest text that the model was trained for, in tokens.
    context: int
    # What one token of a conversation takes in memory, in bytes.
    token_size: int
    # Whether the chat template shows functions to the model, and in which format the model calls them.
    tools: bool
    tool_format: str
    thinking: Thinking


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of looking at a file: its facts, or the reason why it cannot be served, as a sentence."""

    file: ModelFile | None = None
    refusal: str = ""
