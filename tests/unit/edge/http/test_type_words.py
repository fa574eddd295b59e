"""The values of a type in words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from services.edge.http.type_words import describe, describe_choices


class Leaf(Struct, tag="leaf", tag_field="type"):
    """What is inside."""

    name: Annotated[str, Meta(pattern="^a+$", max_length=9)]


class Body(Struct):
    """A field of every kind."""

    flag: bool | None = None
    count: Annotated[int, Meta(ge=1)] = 1
    share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    words: Annotated[list[str], Meta(min_length=1)] | str | None = None
    leaves: Annotated[list[Leaf], Meta(min_length=1, max_length=1000)] = []
    labels: dict[Annotated[str, Meta(max_length=3)], bool] | None = None
    pair: Annotated[dict[str, bool], Meta(max_length=2)] | None = None
    free: dict[str, Any] | None = None
    anything: Any = None
    mode: Literal["on", "off"] | Leaf = "on"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("flag", "true or false"),
        ("count", "a whole number of at least 1"),
        ("share", "a number from 0 to 1"),
        ("words", "a string or a list of at least 1 item in which each item is a string"),
        ("words [0]", "a string"),
        ("leaves", "a list of 1 to 1,000 items"),
        ("leaves [0]", "an object"),
        ("leaves [0] type", "'leaf'"),
        ("leaves [0] name", "a string of at most 9 characters that matches ^a+$"),
        ("labels", "an object in which each name is a string of at most 3 characters and each value is true or false"),
        ("pair", "an object of at most 2 members in which each value is true or false"),
        ("free", "an object"),
        ("anything", ""),
        ("mode", "'off' or 'on' or an object"),
    ],
)
def test_what_a_place_takes(place: str, words: str) -> None:
    assert describe(Body, place.split()) == words


def test_choices_are_told_from_the_rest() -> None:
    assert describe_choices(Body, ["mode"]) == "'off' or 'on'"
    assert describe_choices(Body, ["count"]) == ""
