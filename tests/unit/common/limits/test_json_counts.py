"""What a JSON text would become is counted right, whatever is in its strings."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from services.common.limits.json_counts import MOST_COUNTS, MOST_QUOTES, JsonCounts, count_json
from tests.support.costly_bodies import MIB, at_random, named

STRINGS = ("", "a", "[{,.e", 'a "quote" [', "\\", '\\"[', "true,", "é😀", "\\\\", "1.5e3", "\\u0022[")


def document(draw: random.Random, depth: int = 0) -> Any:
    kind = draw.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return draw.choice(STRINGS)
    if kind == 1:
        return draw.choice([True, False, None])
    if kind == 2:
        return draw.randrange(10**6)
    if kind in {3, 4}:
        return draw.choice([0.5, 1e300, -1.25e-7])
    members = [document(draw, depth + 1) for _ in range(draw.randrange(1, 5))]
    return {f"{at}{draw.choice(STRINGS)}": value for at, value in enumerate(members)} if kind == 5 else members


def walk(value: Any) -> JsonCounts:
    """Counts a document the slow way."""
    if isinstance(value, float):
        text = json.dumps(value)
        return JsonCounts(fractions=text.count(".") + text.count("e"))
    if not isinstance(value, (dict, list)):
        return JsonCounts()
    counts = JsonCounts(containers=1, values=len(value), members=len(value) if isinstance(value, dict) else 0)
    for member in value.values() if isinstance(value, dict) else value:
        counts = counts.plus(walk(member))
    return counts


@pytest.mark.parametrize("ascii_only", [True, False])
def test_counts_are_those_of_the_document(ascii_only: bool) -> None:
    draw = random.Random(1)
    for _ in range(500):
        value = document(draw)
        assert count_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == walk(value), value


def test_every_count_has_its_bound() -> None:
    most = JsonCounts(containers=2, values=3, members=2, fractions=1)
    for text, told in [
        ("[[],[],0]", "2 objects and lists"),
        ("[1,2,3,4]", "3 values"),
        ('{"a":1,"b":2,"c":3}', "2 members of objects"),
        ("[1.5e1]", "1 decimal points and exponents in numbers"),
        ("[1,2.5]", ""),
    ]:
        assert count_json(text.encode()).excess(most) == told


def test_a_text_of_too_many_quotes_is_beyond_any_bound() -> None:
    assert count_json(b'"' * (MOST_QUOTES + 1)).excess(MOST_COUNTS)
    assert not count_json(b'"' * MOST_QUOTES).excess(MOST_COUNTS)


@pytest.mark.parametrize("body", [*named(), *map(at_random, range(10))], ids=lambda body: body.name)
def test_a_count_takes_a_few_milliseconds(body: Any) -> None:
    began = time.process_time()
    count_json(body.content)
    # CPU time: nothing else on the machine counts.
    assert time.process_time() - began < 0.02 * max(1.0, len(body.content) / MIB)
