"""The thought that a model has before its answer: `<think>…</think>`."""

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
class Thought:
    """What is known of the thought before it comes."""

    # The prompt has opened it already.
    opened: bool = False
    # Most characters of its one paragraph, for a model that would never close it; None leaves that to the model.
    longest: int | None = None
