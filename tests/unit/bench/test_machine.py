"""The header of a measurement claims no more about the interpreter than its build has recorded."""

from __future__ import annotations

import sys

import pytest

from bench.machine import describe_interpreter, describe_other


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        # What `./configure --enable-optimizations` leaves, and one without it.
        (
            {"CONFIG_ARGS": "'--enable-optimizations'", "PGO_PROF_USE_FLAG": "-fprofile-use"},
            "built with profile-guided optimisation",
        ),
        (
            {"CONFIG_ARGS": "'--enable-shared'", "PGO_PROF_USE_FLAG": "-fprofile-use -fprofile-correction"},
            "built without profile-guided optimisation",
        ),
        # What Debian leaves, whose build does the steps itself.
        (
            {"CONFIG_ARGS": "'--enable-shared'", "PGO_PROF_USE_FLAG": ""},
            "whose build does not record profile-guided optimisation",
        ),
        # What Windows leaves, where nothing is recorded.
        ({}, "whose build does not record profile-guided optimisation"),
    ],
)
def test_the_header_tells_what_the_build_has_recorded(recorded: dict[str, str], said: str) -> None:
    assert describe_interpreter(recorded.get).endswith(f", {said}")


def test_another_interpreter_describes_itself() -> None:
    assert describe_other(sys.executable) == describe_interpreter()
