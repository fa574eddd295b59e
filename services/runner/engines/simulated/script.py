"""Scripts of the simulated engine: what it answers to which message, so that agents can be tried without a model.

docs/agents.md describes the file.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from services.common.files.yaml_file import read_yaml
from services.common.limits.chats import FUNCTION_NAME
from services.runner.engines.simulated.conversation import Conversation
from services.runner.kinds.text.prompt.thought import THINK_CLOSE, THINK_OPEN


class ScriptError(ValueError):
    """A script cannot be read or is wrong; the message names the file and the place in it."""


class Call(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One call of a function."""

    name: Annotated[str, msgspec.Meta(pattern=FUNCTION_NAME.pattern)]
    arguments: dict[str, Any] = {}


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must be true of a conversation; what is None may be anything."""

    # Of the last message.
    role: Literal["system", "user", "assistant", "tool"] | None = None
    # A part of its text.
    contains: str | None = None
    # A regular expression of Python's that is found in its text.
    matches: str | None = None
    # Which answer of the assistant it is, from 1.
    turn: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One answer, and when it is given."""

    when: Condition = Condition()
    thought: str = ""
    content: str = ""
    calls: tuple[Call, ...] = ()

    def applies(self, conversation: Conversation) -> bool:
        """Whether the conditions hold and all functions that it calls are on offer."""
        when = self.when
        return (
            when.role in (None, conversation.role)
            and when.turn in (None, conversation.turn)
            and (when.contains is None or when.contains in conversation.text)
            and (when.matches is None or re.search(when.matches, conversation.text) is not None)
            and all(call.name in conversation.tools for call in self.calls)
        )

    def write(self, *, thinking: bool) -> list[str]:
        """Returns the answer as a model writes it, in parts; `thinking` says that the prompt has opened a thought."""
        parts = [self.content] if self.content else []
        for call in self.calls:
            body = f'{{"name": {json.dumps(call.name)}, "arguments": {_json(call.arguments)}}}'
            before = "\n" if parts else ""
            parts.append(f"{before}<tool_call>\n{body}\n</tool_call>")
        return [f"{self.thought}\n{THINK_CLOSE}\n\n", *parts] if thinking else parts


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(min_length=1)]


class Script:
    """Rules, of which the first that applies gives the answer."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        """Takes the rules; raises ScriptError, with the place of the mistake, for one that could never be right."""
        for at, rule in enumerate(rules):
            if mistake := _mistake(rule):
                raise ScriptError(f"rules[{at}]{mistake}")
        self._rules = rules

    def answer(self, conversation: Conversation) -> Rule | None:
        """Returns the rule for a conversation, or None if none applies."""
        return next((rule for rule in self._rules if rule.applies(conversation)), None)


def load_script(path: str | Path) -> Script:
    """Loads and checks a script, YAML or JSON; raises ScriptError."""
    try:
        return Script(msgspec.convert(read_yaml(path, "script"), _File).rules)
    except (msgspec.ValidationError, ScriptError) as error:
        raise ScriptError(f"the script {path} is wrong: {error}") from error
    except ValueError as error:
        raise ScriptError(str(error)) from error


def _mistake(rule: Rule) -> str:
    """Returns what is wrong with a rule, after its place, or ""."""
    if not (rule.thought or rule.content or rule.calls):
        return " says nothing; give it a thought, content or calls"
    if THINK_OPEN in rule.thought or THINK_CLOSE in rule.thought:
        return f".thought holds {THINK_OPEN} or {THINK_CLOSE}; leave the tags out, the engine writes them"
    if rule.when.matches is not None:
        try:
            re.compile(rule.when.matches)
        except (re.error, RecursionError, OverflowError) as error:
            return f".when.matches is not a regular expression: {error}"
    texts = [rule.thought, rule.content]
    for call in rule.calls:
        try:
            texts.append(_json(call.arguments))
        except (TypeError, ValueError, RecursionError):
            return f".calls has arguments of {call.name!r} that are not JSON; put dates and the like in quotation marks"
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return " holds half of a surrogate pair; write the whole character"
    return ""


def _json(value: Any) -> str:
    """Writes JSON with the white space of grammars."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
