"""How deeply a JSON text may be nested is the same on every Python, whatever else the text holds."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from services.common.limits.json_counts import MOST_QUOTES
from services.common.limits.json_nesting import MOST_NESTED, check_nesting

TEXTS = ("", "a", "[", "]]]]", '"', '\\"[{', "\\\\", "}" * 50, "é", "\\u005b")


def nested(draw: random.Random, depth: int) -> bytes:
    """Returns a text of exactly this depth, with strings, numbers and shallower values beside the way down."""
    text = json.dumps(draw.choice(TEXTS))
    for level in range(depth):
        parts = [text, json.dumps(draw.choice(TEXTS)), "1.5", *(["[{},[]]"] if level > 1 else [])]
        draw.shuffle(parts)
        if draw.random() < 0.5:
            text = f"[{','.join(parts)}]"
        else:
            members = (f"{json.dumps(f'{at}{draw.choice(TEXTS)}')}: {part}" for at, part in enumerate(parts))
            text = f"{{{', '.join(members)}}}"
    return text.encode()


@pytest.mark.parametrize("seed", range(20))
def test_the_depth_alone_decides(seed: int) -> None:
    draw = random.Random(seed)
    check_nesting(nested(draw, MOST_NESTED))
    with pytest.raises(RecursionError):
        check_nesting(nested(draw, MOST_NESTED + 1))


@pytest.mark.parametrize(
    "document", [[[]] * 5000, [{"a": [{"b": {}}]}] * 2000, {str(at): [] for at in range(3000)}, ["[" * 99_999]]
)
def test_many_are_not_deep(document: Any) -> None:
    check_nesting(encoded(document))


@pytest.mark.parametrize(
    "text", [b"[" * 1_000_000, b'{"a":' * 1_000_000, b"[{" * 5000 + b"}", b"[" * 5000 + b"}" * 5000]
)
def test_what_breaks_off_is_refused_too(text: bytes) -> None:
    with pytest.raises(RecursionError):
        check_nesting(text)


@pytest.mark.parametrize("text", [b"", b"]" * 5000, b"[]" * 5000, b'{"a":"' + b"[" * 5000, b"\xff\x00[}"])
def test_what_is_no_json_and_not_deep_is_left_to_its_reader(text: bytes) -> None:
    check_nesting(text)


def test_a_text_of_too_many_strings_is_not_taken_apart() -> None:
    with pytest.raises(RecursionError):
        check_nesting(encoded([[]] * MOST_NESTED + ["a"] * MOST_QUOTES))


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()
