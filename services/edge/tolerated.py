"""Fields that OpenAI's clients send and that change nothing here: accepted, checked for their type, and not used."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Label = Annotated[str, Meta(max_length=512)]


class ToleratedFields(Struct, frozen=True, kw_only=True):
    """What the bodies of chat completions and of responses have in common; nothing of it is kept or passed on."""

    # Nothing is ever stored, so whether to is no question.
    store: bool | None = None
    metadata: Annotated[dict[Annotated[str, Meta(max_length=64)], Label], Meta(max_length=16)] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None


class ToleratedChatFields(ToleratedFields, frozen=True, kw_only=True):
    """What only the body of chat completions has."""

    # The text that the answer is expected to repeat; it only ever saves time.
    prediction: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
