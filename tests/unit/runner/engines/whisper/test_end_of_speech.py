"""A phrase ends with the speech that it is in, however long the model says that it lasts."""

from __future__ import annotations

import pytest

from services.runner.engines.whisper.engine import _end_of_speech


@pytest.mark.parametrize(
    ("start", "end"),
    [(0.0, 60.0), (39.99, 46.5), (40.0, 46.5), (46.0, 46.5), (80.0, 85.0), (84.9, 85.0)],
)
def test_a_phrase_ends_with_its_speech(start: float, end: float) -> None:
    assert _end_of_speech([40.0, 46.5, 80.0, 86.0], start, 60.0 if start == 0.0 else 85.0) == end
