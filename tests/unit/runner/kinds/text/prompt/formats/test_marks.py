"""Every tag that a reader looks for has text on an engine, even if it is a control token of the model."""

from __future__ import annotations

import re

from services.runner.kinds.text.prompt.marks import MARKS
from tests.unit.runner.kinds.text.prompt.formats.families import FAMILIES

# How tags that can be tokens look. Those with a name in them are text.
TAG = re.compile(r"<[|\uff5c][^<>]+[|\uff5c]>|</?(?:tool_call|think|arg_key|arg_value)>|\[/?[A-Z_]+\]")


def test_every_tag_is_shown() -> None:
    found: set[str] = set()
    for family in FAMILIES:
        tags = {tag for text in (*family.pieces, family.thought[0]) for tag in TAG.findall(text)}
        assert tags, family.format
        assert tags <= MARKS | set(family.hidden), family.format
        found |= tags
    assert len(found) > 20


def test_what_ends_messages_is_never_shown() -> None:
    assert not {token for family in FAMILIES for token in family.hidden} & MARKS
