"""The thought that a model has before its answer, between tags: `<think>…</think>` for most."""

from __future__ import annotations

from dataclasses import dataclass

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
# OpenAI's degrees of reasoning → those that chat templates know. With `none` a model does not think if it can help it.
EFFORTS = {
    "none": "",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


@dataclass(frozen=True, slots=True)
class ThoughtTags:
    """What a thought stands between."""

    open: str = THINK_OPEN
    close: str = THINK_CLOSE


# Those of Mistral's models that think (https://huggingface.co/mistralai/Magistral-Small-2509).
_OTHERS = (ThoughtTags("[THINK]", "[/THINK]"),)


def thought_tags(template: str) -> ThoughtTags:
    """Returns the tags of a model's thoughts by its chat template, which shows those of the past."""
    return next((tags for tags in _OTHERS if tags.open in template), ThoughtTags())


@dataclass(frozen=True, slots=True)
class Thought:
    """What is known of the thought before it comes."""

    # The prompt has opened it already.
    opened: bool = False
    # Most characters of its one paragraph, for a model that would never close it; None leaves that to the model.
    longest: int | None = None
    tags: ThoughtTags = ThoughtTags()
