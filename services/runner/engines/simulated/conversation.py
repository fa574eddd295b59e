"""The chat templates of the simulated engine, and how it reads a prompt that one of them has rendered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

# Plain ChatML, without tools.
PLAIN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# ChatML with functions, calls in the Hermes format, and thoughts. Texts are JSON, in one line each, so that no text can
# look like the beginning of a message.
SCRIPTED_TEMPLATE = (
    "{% if tools %}<|im_start|>tools\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content | tojson }}"
    "{% for call in message.tool_calls or [] %}"
    '\n<tool_call>\n{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}'
    "\n</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
)
_BEGINNING = "\n<|im_start|>"
_JSON = json.JSONDecoder()


class _Function(msgspec.Struct):
    name: str


class _Tool(msgspec.Struct):
    function: _Function


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a script can ask of a prompt."""

    # The role and the text of the last message; results of several calls, one after the other, count as one message.
    role: str
    text: str
    # Which answer of the assistant comes next: 1 for the first.
    turn: int
    # The functions on offer.
    tools: frozenset[str]


def read_prompt(prompt: str) -> Conversation:
    """Returns the conversation that SCRIPTED_TEMPLATE has rendered; any other text is one message of a user."""
    _, *messages = ("\n" + prompt).split(_BEGINNING)
    if len(messages) < 2 or not messages.pop().startswith("assistant\n"):
        return Conversation("user", prompt, 1, frozenset())
    tools: frozenset[str] = frozenset()
    try:
        if messages[0].startswith("tools\n"):
            tools = _read_tools(messages.pop(0))
        role, text = _read_last(messages)
    except ValueError:
        return Conversation("user", prompt, 1, frozenset())
    turn = 1 + sum(message.startswith("assistant\n") for message in messages)
    return Conversation(role, text, turn, tools)


def _read_tools(block: str) -> frozenset[str]:
    lines = block.split("\n")[1:-1]
    return frozenset(msgspec.json.decode(line, type=_Tool).function.name for line in lines)


def _read_last(messages: list[str]) -> tuple[str, str]:
    """Returns the role and the text of the last message."""
    role = messages[-1].partition("\n")[0] if messages else ""
    texts: list[str] = []
    for message in reversed(messages):
        its_role, _, body = message.partition("\n")
        if texts and not its_role == role == "tool":
            break
        texts.append(_text(_JSON.raw_decode(body)[0]))
    return role, "\n".join(reversed(texts))


def _text(content: Any) -> str:
    return content if isinstance(content, str) else ""
