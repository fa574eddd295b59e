from __future__ import annotations

from typing import Any

import pytest

from services.common.errors import Code, MeshError
from services.runner.kinds.conversation.job import ConversationJob
from services.runner.kinds.conversation.shape import check_answer, check_beginning
from services.runner.kinds.text.job import Sampling
from services.runner.kinds.text.prompt.tools import Mode, Tool, Toolbox

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
    "required": ["city"],
    "additionalProperties": False,
}
LOOK, STRICT = Tool("look", parameters=SCHEMA), Tool("strict", parameters=SCHEMA, strict=True)
AUTO = Toolbox((LOOK, STRICT))
FORCED = Toolbox((LOOK, STRICT), Mode.REQUIRED, required=(LOOK,), single=True)
RIGHT, WRONG = '{"city": "Oslo"}', '{"town": "Oslo"}'


def job(toolbox: Toolbox = Toolbox(), schema: dict[str, Any] | None = None) -> ConversationJob:  # noqa: B008 - it is immutable
    return ConversationJob("request", [], Sampling(), toolbox, schema)


@pytest.mark.parametrize(
    ("content", "calls", "toolbox", "schema"),
    [
        ("Anything.", [], Toolbox(), None),
        ("Anything.", [], AUTO, None),
        ("", [("look", RIGHT)], AUTO, None),
        # Nobody has promised anything of these arguments but that they are an object.
        ("", [("look", WRONG)], AUTO, None),
        ("", [("strict", RIGHT)], AUTO, None),
        ("", [("look", RIGHT)], FORCED, None),
        (RIGHT, [], Toolbox(), SCHEMA),
        ('{\n  "days": [1, 2],\n  "city": "Troms\u00f8"\n}', [], Toolbox(), SCHEMA),
    ],
)
def test_what_has_the_shape_passes(
    content: str, calls: list[tuple[str, str]], toolbox: Toolbox, schema: dict[str, Any] | None
) -> None:
    check_answer(job(toolbox, schema), content, calls)


@pytest.mark.parametrize(
    ("content", "calls", "toolbox", "schema"),
    [
        ("", [("unknown", RIGHT)], AUTO, None),
        ("", [("look", "[]")], AUTO, None),
        ("", [("look", '{"city": "Os')], AUTO, None),
        ("", [("strict", WRONG)], AUTO, None),
        ("", [("look", WRONG)], FORCED, None),
        ("", [("strict", RIGHT)], FORCED, None),
        ("", [("look", RIGHT)] * 2, FORCED, None),
        ("", [("look", RIGHT)], Toolbox(), None),
        ("Anything.", [], Toolbox(), SCHEMA),
        (WRONG, [], Toolbox(), SCHEMA),
        ('{"city": 5}', [], Toolbox(), SCHEMA),
        ("```json\n" + RIGHT + "\n```", [], Toolbox(), SCHEMA),
        ("[" * 100_000, [], Toolbox(), SCHEMA),
    ],
)
def test_what_has_another_shape_is_a_failure(
    content: str, calls: list[tuple[str, str]], toolbox: Toolbox, schema: dict[str, Any] | None
) -> None:
    with pytest.raises(MeshError) as failure:
        check_answer(job(toolbox, schema), content, calls)
    assert failure.value.code is Code.CANCELLED


def test_a_call_that_was_forced_and_has_not_begun_is_a_failure() -> None:
    check_beginning(job(FORCED), called=True)
    check_beginning(job(AUTO), called=False)
    with pytest.raises(MeshError):
        check_beginning(job(FORCED), called=False)
