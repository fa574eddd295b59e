"""What a conversation takes in memory, by the numbers in a model's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# llama.cpp keeps keys and values as 16-bit numbers.
_NUMBER = 2


def token_size(metadata: Mapping[str, Any], architecture: str) -> int:
    """Returns the bytes of the cache for each token of a conversation, at most; 0 if the file does not say.

    Models whose layers attend to a window, or have a state in place of a cache, take less.
    """

    def number(key: str) -> Any:
        return metadata.get(f"{architecture}.{key}")

    layers = _whole(number("block_count"))
    heads = _each(number("attention.head_count"), layers)
    shared = _each(number("attention.head_count_kv"), layers) or heads
    widest = max(heads, default=0)
    width = _whole(number("embedding_length")) // widest if widest else 0
    keys = _whole(number("attention.key_length")) or width
    values = _whole(number("attention.value_length")) or width
    return sum(shared) * (keys + values) * _NUMBER


def _each(value: Any, layers: int) -> Sequence[int]:
    """Returns a number for each layer: the file has one for all, or a list."""
    if isinstance(value, tuple):
        return [_whole(each) for each in value[:layers]]
    return [_whole(value)] * layers if _whole(value) else []


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and 0 < value < 1 << 24 else 0
