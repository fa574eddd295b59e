from __future__ import annotations

import random

import pytest

from bench.soak.growth import MEMORY, growth

_WINDOWS = 12
_NOISE_MB = 0.5


def _memory(*, per_window: float = 0.0, filled_by: int = 0) -> list[float]:
    """Returns what a process of about 70 MB occupies, with noise, and two odd windows."""
    chance = random.Random(3)
    values = [
        70 + per_window * at - 10 * max(0, filled_by - at) + chance.uniform(-_NOISE_MB, _NOISE_MB)
        for at in range(_WINDOWS)
    ]
    values[5] += 8
    values[10] -= 6
    return values


@pytest.mark.parametrize("values", [_memory(), _memory(filled_by=4), [70.0], [70.0, 71.0]])
def test_memory_that_fills_first_and_then_stays_is_no_growth(values: list[float]) -> None:
    assert growth(values) <= MEMORY.of(values)


@pytest.mark.parametrize("per_window", [0.6, 2.0])
def test_a_leak_is_found_in_spite_of_noise(per_window: float) -> None:
    values = _memory(per_window=per_window)
    assert growth(values) > MEMORY.of(values)
    assert growth(values) == pytest.approx(per_window * 7, abs=2.0)
