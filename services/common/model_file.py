"""What a runner's engine finds in a model file, for the service that decides how the model is served."""

from __future__ import annotations

from typing import Literal

import msgspec

from services.common.catalog import Kind

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


class ModelServer(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a model that a server has, which runs already."""

    # The model's name there.
    model: str
    # What the server is, and where, for people.
    origin: str
    # What the model is for.
    kind: Kind
    # Tokens of each conversation, and conversations at once; 0 if the server does not say.
    context: int
    slots: int
    # Whether it takes functions, and whether its model thinks, as far as that is known.
    tools: bool
    thinking: Thinking
    # The names of its voices, if it speaks and they are known.
    voices: tuple[str, ...] = ()


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of looking at a file or a server: its facts, or the reason why it cannot be served, as a sentence."""

    file: ModelFile | None = None
    server: ModelServer | None = None
    refusal: str = ""
