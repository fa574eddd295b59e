"""Adds up what the choices of one answer have used, as OpenAI's usage object says it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tiermesh.runner.v1 import runner_pb2


def usage_body(usages: Iterable[runner_pb2.Usage]) -> dict[str, Any]:
    """Returns OpenAI's usage object for all choices: the prompt counts once, the answers add up."""
    usages = list(usages)
    prompt = usages[0].prompt_tokens if usages else 0
    completion = sum(usage.completion_tokens for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usages[0].cached_tokens if usages else 0},
        "completion_tokens_details": {"reasoning_tokens": sum(usage.reasoning_tokens for usage in usages)},
    }
