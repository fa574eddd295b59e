"""Earlier calls reach a template in the form that it takes."""

from __future__ import annotations

from typing import Any

import pytest

from services.runner.kinds.text.prompt.template import ChatTemplate
from tests.unit.runner.kinds.text.prompt.formats.families import KIMI

SHOWN = (
    "{% for m in messages %}{{ m.content }}{% for call in m.tool_calls or [] %}"
    "{{ '<tool_call>{\"name\": \"' ~ call.function.name ~ '\", \"arguments\": ' }}ARGUMENTS{{ '}</tool_call>' }}"
    "{% endfor %}{% endfor %}{% if tools %}{% endif %}"
)


def conversation(*names: str) -> list[dict[str, Any]]:
    """Returns a question, and a turn with a call and its result for each name."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Q"}]
    for number, name in enumerate(names):
        call = {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": {"é": "a"}}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"call_{number}", "content": f"R{number}"})
    return messages


@pytest.mark.parametrize(
    "arguments",
    [
        "{{ call.function.arguments | tojson }}",
        # Templates that take JSON text: one fails otherwise, the other shows Python's spelling.
        "{{ '' + call.function.arguments }}",
        "{{ call.function.arguments }}",
    ],
)
def test_arguments_are_written_as_json(arguments: str) -> None:
    template = ChatTemplate(SHOWN.replace("ARGUMENTS", arguments))
    assert '"arguments": {"é": "a"}}' in template.render(conversation("f"))


def test_kimi_counts_the_calls_of_a_conversation() -> None:
    prompt = ChatTemplate(KIMI.template).render(conversation("look", "find", "look"))
    for number, name in enumerate(("look", "find", "look")):
        assert f"<|tool_call_begin|>functions.{name}:{number}<|tool_call_argument_begin|>" in prompt
        assert f"## Return of functions.{name}:{number}\nR{number}" in prompt
