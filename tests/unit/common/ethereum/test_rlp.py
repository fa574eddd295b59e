"""RLP, by the examples of its description."""

from __future__ import annotations

import pytest

from services.common.ethereum.rlp import Item, encode


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (b"dog", "83646f67"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        (b"", "80"),
        ([], "c0"),
        (0, "80"),
        (b"\x00", "00"),
        (15, "0f"),
        (1024, "820400"),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (b"a" * 55, "b7" + "61" * 55),
        (b"a" * 56, "b838" + "61" * 56),
        ([b"a" * 60], "f83eb83c" + "61" * 60),
    ],
)
def test_examples(item: Item, expected: str) -> None:
    assert encode(item).hex() == expected
