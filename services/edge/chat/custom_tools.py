"""Custom tools, which take a text: to a model they are functions with one argument, `input`."""

from __future__ import annotations

import json
import re

import msgspec

from services.edge.chat.request import CustomTool

_PARAMETERS = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
# The JSON Schema of the arguments.
PARAMETERS_JSON = msgspec.json.encode(_PARAMETERS).decode()
_SYNTAXES = {"lark": "Lark grammar", "regex": "regular expression"}
_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
# What of a string is whole: an escape, also one that is half of a character, may come in pieces.
_WHOLE = re.compile(r'(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*')
_HALF = re.compile(r"\\u[dD][89abAB][0-9A-Fa-f]{2}\Z")
_BEGUN = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?\Z")


def description_of(tool: CustomTool) -> str:
    """Returns what the model is told of a custom tool: what it does, how to call it, and what its input follows."""
    said = [tool.description or "", "Its input is text. Pass the text, as it is, as the argument 'input'."]
    if tool.format and tool.format.grammar:
        grammar = tool.format.grammar
        said.append(f"The text follows this {_SYNTAXES[grammar.syntax]}:\n{grammar.definition}")
    return "\n\n".join(filter(None, said))


def arguments_of(text: str) -> str:
    """Returns the arguments that give a custom tool a text, as models write them."""
    return json.dumps({"input": text}, ensure_ascii=False)


def input_of(arguments: str) -> str:
    """Returns the text that whole arguments give to a custom tool."""
    reader = InputReader()
    return reader.take(arguments) + reader.finish()


class InputReader:
    """Reads the text that the arguments of one call give to a custom tool, as they come.

    A model may write something else than `{"input": "…"}`: then the text is the one string among the arguments, or the
    arguments as they are.
    """

    def __init__(self) -> None:
        # Up to the text, all of it; within the text, what is not decided yet.
        self._held = ""
        self._inside = self._ended = False

    def take(self, arguments: str) -> str:
        """Takes the next characters of the arguments, and returns those of the text."""
        if self._ended:
            return ""
        self._held += arguments
        if not self._inside:
            head = _HEAD.match(self._held)
            if head is None:
                return ""
            self._inside = True
            self._held = self._held[head.end() :]
        return self._decided()

    def finish(self) -> str:
        """Returns what is left of the text: the arguments end here."""
        rest, self._held = self._held, ""
        # Within the text, that is half an escape.
        return "" if self._inside else _only_text(rest)

    def _decided(self) -> str:
        """Returns what is decided of the text."""
        decided: list[str] = []
        while True:
            end = _whole(self._held)
            text, rest = self._held[:end], self._held[end:]
            if not rest and (half := _HALF.search(text)):
                text, rest = text[: half.start()], half[0]
            elif (half := _HALF.search(text)) and _BEGUN.match(rest):
                text, rest = text[: half.start()], half[0] + rest
            decided.append(_unescaped(text))
            self._held = rest
            if rest.startswith('"'):
                self._ended, self._held = True, ""
            elif rest and not _BEGUN.match(rest) and not _HALF.match(rest[:6]):
                # A backslash that begins no escape stands for itself.
                decided.append(rest[0])
                self._held = rest[1:]
                continue
            return "".join(decided)


def _whole(text: str) -> int:
    """Returns how many of the first characters of a string are whole."""
    found = _WHOLE.match(text)
    return found.end() if found else 0


def _unescaped(text: str) -> str:
    value: str = json.loads(f'"{text}"', strict=False)
    # Half of a character is valid JSON, but no valid text.
    return value.encode(errors="replace").decode()


def _only_text(arguments: str) -> str:
    try:
        value = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        return arguments
    members = list(value.values()) if isinstance(value, dict) else [value]
    texts = [value["input"]] if isinstance(value, dict) and isinstance(value.get("input"), str) else members
    if len(texts) == 1 and isinstance(texts[0], str):
        return texts[0].encode(errors="replace").decode()
    return arguments
