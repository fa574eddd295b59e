"""gpt-oss: an answer is messages on channels, as https://github.com/openai/harmony/blob/main/docs/format.md describes.

`<|channel|>analysis<|message|>` begins a thought, `final` and `commentary` content, and a message to
`functions.NAME`, on any channel, is a call of that function with its arguments. The recipient may stand before or after
the channel. The tokens that end messages have no text on an engine, so a message ends where the next begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from services.runner.kinds.text.prompt.formats.base import CallReader, ToolFormat
from services.runner.kinds.text.prompt.formats.rules import arguments_rule, literal
from services.runner.kinds.text.prompt.formats.syntax import Syntax, spelled
from services.runner.kinds.text.prompt.output import ParsedText, add, add_content, decided
from services.runner.kinds.text.prompt.thought import Thought
from services.runner.kinds.text.prompt.tools import Tool

START, CHANNEL, MESSAGE, CONSTRAIN, END = "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>"
_OPENING = (START, CHANNEL)
_NEXT = f'{END} {START} "assistant"'
_RECIPIENT = (*spelled("to="), r"(?P<%s>[A-Za-z0-9_.-]+)")
_FUNCTIONS = "functions."
# Words that spell no token that opens a message.
_WORDS = r"WORDS: /(?s:.)*/ & ~/(?s:.)*<\|(start|channel)\|>(?s:.)*/"


def _headers() -> Iterator[Syntax]:
    """Yields what a message can begin with, by which of its parts are there."""
    for starts, before, after, constrained in product((True, False), repeat=4):
        yield Syntax(
            r"\s*",
            *((*spelled(START + "assistant"), r"\s*") if starts else ()),
            *((*(part.replace("%s", "before") for part in _RECIPIENT), r"\s*") if before else ()),
            *spelled(CHANNEL),
            r"(?P<channel>[a-z]+)",
            *((r"\s+", *(part.replace("%s", "after") for part in _RECIPIENT)) if after else ()),
            r"\s*",
            *(spelled(CONSTRAIN) if constrained else ()),
            r"[a-z]*",
            *spelled(MESSAGE),
        )


_HEADERS = tuple(_headers())


class HarmonyFormat(ToolFormat):
    """Messages on channels."""

    name = "harmony"
    framed = True
    control_tokens = (START, CHANNEL, MESSAGE, CONSTRAIN, END)

    def call_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of one call: the model ends its answer after it."""
        del single
        for number, tool in enumerate(tools):
            head = literal(f"commentary to={_FUNCTIONS}{tool.name} ")
            yield f'call_{number}: {CHANNEL} {head} {CONSTRAIN} "json" {MESSAGE} {arguments_rule(tool)}'
        yield f"calls: {' | '.join(f'call_{number}' for number in range(len(tools)))}"

    def auto_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of content, or of a call that words may come before."""
        yield from self.call_rules(tools, single=single)
        yield f'auto: {self.content("WORDS")} | ({CHANNEL} "commentary" {MESSAGE} WORDS {_NEXT})? calls'

    def content(self, rule: str) -> str:
        """Returns the expression for content on its channel."""
        return f'{CHANNEL} "final" {MESSAGE} {rule}'

    def before(self, thought: Thought | None) -> tuple[str, list[str]]:
        """Returns the expression for a thought, whether the model is to show it or not, and its rules."""
        del thought
        return f'({CHANNEL} "analysis" {MESSAGE} WORDS {_NEXT})? ', [_WORDS]

    def reader(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str]) -> CallReader:
        """Returns a reader that takes any name, if there are functions at all."""
        return _Reader(functions, new_id)


class _Reader(CallReader):
    marker = CHANNEL

    def __init__(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str]) -> None:
        super().__init__(functions, new_id)
        self._state = self._header
        self._name = ""

    @property
    def thinking(self) -> bool:
        """Whether what comes next is reasoning."""
        return self._state == self._thought

    def finish(self, out: ParsedText, *, cut: bool) -> None:
        """Adds what was still held back; of the beginning of a message that never came, nobody has said anything."""
        if self._state == self._thought:
            add(out.reasoning, self._text)
            self._text = ""
        if self._state == self._opened and not self._text.strip() and not cut:
            self._add_call(out, self._name, "{}")
            self._text = ""
        if self._state == self._header and any(tag in self._text for tag in _OPENING):
            self._text = ""
        super().finish(out, cut=cut)

    def _header(self, out: ParsedText) -> bool:
        """Before a message."""
        for header in _HEADERS:
            if match := header.match(self._text):
                found = match.groupdict()
                return self._open(out, match.end(), found["channel"], found.get("before") or found.get("after") or "")
        if any(header.begins(self._text) for header in _HEADERS):
            return False
        # What is no message after all is content, with its first tag.
        tag = next((tag for tag in _OPENING if self._text.lstrip().startswith(tag)), "")
        end = self._text.index(tag) + len(tag)
        add_content(out, self._text[:end], len(self._text))
        self._text = self._text[end:]
        return self._resume_content(out)

    def _open(self, out: ParsedText, end: int, channel: str, recipient: str) -> bool:
        """Begins a message whose header ends there."""
        header, self._text = self._text[:end], self._text[end:]
        if recipient.startswith(_FUNCTIONS) and self._functions:
            self._name = recipient.removeprefix(_FUNCTIONS)
            self._before = header
            self._state = self._opened
        elif recipient:
            # A message to nobody who is there.
            add_content(out, header, len(header) + len(self._text))
            self._state = self._content
        else:
            self._state = self._thought if channel == "analysis" else self._content
        return True

    def _opened(self, out: ParsedText) -> bool:
        """Before the arguments of a call."""
        text = self._text.lstrip()
        if text.startswith("{"):
            self._written = [self._before, self._text.removesuffix(text)]
            self._add_call(out, self._name)
            self._text = text
            self._look_for(self._arguments)
            self._after_arguments = self._to_header
            return True
        if any(text.startswith(tag) for tag in _OPENING):
            self._add_call(out, self._name, "{}")
            self._state = self._header
            return True
        if not text or any(tag.startswith(text) for tag in _OPENING):
            return False
        return self._release(out)

    def _to_header(self, out: ParsedText) -> bool:  # noqa: ARG002 - every state has this signature
        self._state = self._header
        return True

    def _after_object(self, out: ParsedText) -> bool:
        return self._to_header(out)

    def _content(self, out: ParsedText) -> bool:
        words, ended = self._body()
        add_content(out, words, len(words) + len(self._text))
        return ended and self._to_header(out)

    def _thought(self, out: ParsedText) -> bool:
        words, ended = self._body()
        add(out.reasoning, words)
        return ended and self._to_header(out)

    def _body(self) -> tuple[str, bool]:
        """Takes the next words of a message, and says whether a tag comes next."""
        at = min((at for tag in _OPENING if (at := self._text.find(tag)) >= 0), default=-1)
        words = self._text[:at] if at >= 0 else decided(self._text, *_OPENING)
        self._text = self._text[len(words) :]
        return words, at >= 0
