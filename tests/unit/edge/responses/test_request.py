"""A body that is read a second time, because of what it holds of other services, is refused as any other is."""

from __future__ import annotations

import pytest

from services.common.errors import Code, MeshError
from services.edge.responses.request import parse_responses_body

# What makes the first reading fail, or what is rewritten after it.
FOREIGN = (
    b'"input": [{"type": "reasoning", "id": 1, "summary": "No list."}]',
    b'"input": [{"type": "web_search_call", "id": "ws_1"}]',
    b'"tools": [{"type": "web_search", "filters": 1, "name": 2}]',
    b'"tools": [1]',
)
REST = (
    b"",
    b", ",
    b', "user": NaN}',
    b', "user": "\xff"}',
    b', "user": "\\ud83d"}',
    b', "user": 1e999}',
    b', "input": 1}',
    b', "tools": {}}',
    b', "user": ' + b"[" * 100_000,
)


@pytest.mark.parametrize("rest", REST)
@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_follows_something_foreign_may_be_anything(foreign: bytes, rest: bytes) -> None:
    with pytest.raises(MeshError) as refusal:
        parse_responses_body(b'{"model": "tiermesh-pro", ' + foreign + rest)
    assert refusal.value.code is Code.INVALID_REQUEST


def test_a_body_without_input_is_refused_by_that_name() -> None:
    with pytest.raises(MeshError) as refusal:
        parse_responses_body(b'{"model": "tiermesh-pro", "tools": [{"type": "web_search", "name": 2}]}')
    assert refusal.value.param == "input"
