from __future__ import annotations

from collections import Counter
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.lineage import Ancestor, binding
from tests.unit.auth.keys_for_tests import api_key


@pytest.mark.parametrize(
    ("line", "bound"),
    [
        ([], ()),
        ([("a", 0)], ()),
        ([("a", 5)], (("a", 5),)),
        ([("a", 5), ("b", 5)], (("a", 5),)),
        ([("a", 5), ("b", 4)], (("a", 5), ("b", 4))),
        ([("a", 0), ("b", 4), ("c", 4), ("d", 3)], (("b", 4), ("d", 3))),
        # No key is made with more than its creator has, but a limit that is looser binds nobody.
        ([("a", 5), ("b", 9), ("c", 0)], (("a", 5),)),
    ],
)
def test_a_limit_that_another_one_always_reaches_first_is_not_counted(
    line: list[tuple[str, int]], bound: tuple[tuple[str, int], ...]
) -> None:
    assert binding(line) == bound


@st.composite
def families(draw: st.DrawFn) -> list[list[tuple[str, int]]]:
    """The lines of some keys, each made by an earlier one or by nobody."""
    lines: list[list[tuple[str, int]]] = []
    for number in range(draw(st.integers(1, 6))):
        above = draw(st.sampled_from([[], *lines]))
        lines.append([*above, (f"key_{number}", draw(st.integers(0, 6)))])
    return lines


@given(families(), st.lists(st.integers(0, 5), max_size=40))
def test_what_binds_refuses_exactly_what_all_limits_of_the_line_refuse(
    lines: list[list[tuple[str, int]]], requests: list[int]
) -> None:
    everything: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for request in requests:
        line = lines[request % len(lines)]
        bound = binding(line)
        allowed = all(everything[key] < limit for key, limit in line if limit)
        assert allowed == all(counted[key] < limit for key, limit in bound)
        if allowed:
            everything.update(key for key, limit in line if limit)
            counted.update(key for key, _ in bound)


def test_a_rotated_key_counts_as_the_first_one() -> None:
    key = api_key(
        id="key_3",
        origin="key_2",
        monthly_credit_cap=5,
        requests_per_minute=7,
        ancestors=(Ancestor("key_1", 9, 7), Ancestor("key_0", 9, 0)),
    )
    assert key.counted_as == "key_2"
    assert key.caps == (("key_1", 9), ("key_2", 5))
    assert key.rates == (("key_1", 7),)
    assert api_key(id="key_1").counted_as == "key_1"


def test_a_key_descends_from_every_rotation_of_its_makers() -> None:
    child = api_key(id="key_9", ancestors=(Ancestor("key_1", 0, 0), Ancestor("key_5", 0, 0)))
    assert child.descends_from(api_key(id="key_1"))
    assert child.descends_from(api_key(id="key_6", origin="key_5"))
    assert not child.descends_from(child)
    assert not child.descends_from(api_key(id="key_2", origin="key_9"))


def test_limits_of_a_long_line_only_get_lower() -> None:
    line = [(f"key_{number}", limit) for number, limit in enumerate([9, 3, 7, 0, 3, 2, 8])]
    limits = [limit for _, limit in binding(line)]
    assert limits == [9, 3, 2]
    assert list(accumulate(limits, min)) == limits
