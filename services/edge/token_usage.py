"""Adds up what the choices of one answer have used, as OpenAI's usage object says it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tiermesh.runner.v1 import runner_pb2


def usage_body(usages: Iterable[runner_pb2.Usage], *, prompts: int = 1) -> dict[str, Any]:
    """Returns OpenAI's usage object for all choices: each of the prompts counts once, the answers add up.

    The choices of a prompt stand next to each other, and every prompt has the same number of them.
    """
    usages = list(usages)
    firsts = usages[:: max(len(usages) // prompts, 1)]
    prompt = sum(usage.prompt_tokens for usage in firsts)
    completion = sum(usage.completion_tokens for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(usage.cached_tokens for usage in firsts)},
        "completion_tokens_details": {"reasoning_tokens": sum(usage.reasoning_tokens for usage in usages)},
    }
