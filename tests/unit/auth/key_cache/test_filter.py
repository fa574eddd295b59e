"""What was added is always found; of other digests, as few as the filter says."""

from __future__ import annotations

import random

import pytest

from services.auth.key_cache.filter import DigestFilter


@pytest.mark.parametrize(("times", "most"), [(1, 0), (10, 0.01), (30, 0.2)])
def test_digests_are_found_and_few_others(times: int, most: float) -> None:
    chance = random.Random(times)
    known = DigestFilter(100)
    added = [chance.randbytes(32) for _ in range(100 * times)]
    for digest in added:
        known.add(digest)
    assert all(digest in known for digest in added)
    others = 10_000
    assert sum(chance.randbytes(32) in known for _ in range(others)) <= most * others
