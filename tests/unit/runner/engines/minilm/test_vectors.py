"""Vectors that are cut keep their direction and length 1."""

from __future__ import annotations

import math
from array import array

from services.runner.engines.minilm.vectors import shorten


def test_a_cut_vector_has_length_1() -> None:
    cut = shorten(array("f", [0.6, 0.0, 0.8]), 2)
    assert list(cut) == [1.0, 0.0]
    cut = shorten(array("f", [3, 4, 12]), 2)
    assert [round(component, 6) for component in cut] == [0.6, 0.8]
    assert math.isclose(math.hypot(*cut), 1, rel_tol=1e-6)


def test_a_vector_without_any_length_stays_so() -> None:
    assert list(shorten(array("f", [0.0, 0.0, 1.0]), 2)) == [0.0, 0.0]
