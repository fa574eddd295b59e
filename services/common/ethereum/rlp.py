"""The serialisation of transactions (RLP)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Item: TypeAlias = "bytes | int | Sequence[Item]"

_SHORT = 56
_BYTES, _LIST = 0x80, 0xC0


def encode(item: Item) -> bytes:
    """Returns the bytes of an item; a number has no leading zeros."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < _BYTES else _headed(_BYTES, item)
    return _headed(_LIST, b"".join(encode(each) for each in item))


def _headed(kind: int, content: bytes) -> bytes:
    if len(content) < _SHORT:
        return bytes([kind + len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([kind + _SHORT - 1 + len(length)]) + length + content
