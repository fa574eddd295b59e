"""Tells what a chat template itself has written into a prompt from what it has only passed on.

Control tokens in the template's own texts, and what may become one beside other texts, are put between two marks when
the template is compiled. The marks are random and leave a prompt before anybody sees it, so no client can write one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jinja2 import nodes

from services.runner.kinds.text.prompt.controls import ControlTexts, Prompt, Span

# Private characters, which templates neither strip nor change to upper case.
_FIRST, _CHARACTERS, _LENGTH = 0xE000, 0x1900, 10
# Nodes whose children are compared or looked up, mostly, and not written.
_LOOK = (nodes.Compare, nodes.Test, nodes.Call, nodes.Keyword, nodes.Pair)
# Nodes of which one child only may be written.
_LOOK_BESIDE = (nodes.Filter, nodes.Getitem)


class Role(str):
    """A role as templates see it: equal to its name, but marked where it is written.

    Some templates make control tokens of roles: `<|{{ message.role }}|>`. Roles are the only words in a conversation
    that clients do not choose freely.
    """

    __slots__ = ("_marked",)

    _marked: str

    def __new__(cls, role: str, marked: str) -> Role:
        """Returns the role; `marked` is what is written."""
        self = super().__new__(cls, role)
        self._marked = marked
        return self

    def __str__(self) -> str:
        return self._marked

    def __add__(self, other: str) -> str:
        return self._marked + other

    def __radd__(self, other: str) -> str:
        return other + self._marked

    def __format__(self, form: str) -> str:
        return format(self._marked, form)


class Origins:
    """Marks the texts of one template, and reads the marks in its prompts."""

    def __init__(self, controls: ControlTexts) -> None:
        self._controls = controls
        self._open, self._close = _random_mark(), _random_mark()
        self._beginnings, self._ends = _parts(controls.texts)
        self._longest = max(map(len, controls.texts), default=0)
        # Whether a text of the template may be a part of a control token, so that roles have to be marked too.
        self._joins = False

    def mark(self, template: nodes.Template) -> None:
        """Marks the texts in a parsed template."""
        if self._controls.texts:
            self._mark(template, written=True, shown=False)

    def messages(self, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Returns the messages for the template, with marked roles if it needs them."""
        if not self._joins:
            return list(messages)
        return [{**message, "role": Role(message["role"], self.marked(message["role"]))} for message in messages]

    def marked(self, text: str) -> str:
        """Returns a text that counts as the template's own."""
        return self._open + text + self._close if text else ""

    def unmarked(self, text: str) -> str:
        """Returns a text without marks."""
        return text.replace(self._open, "").replace(self._close, "")

    def read(self, rendered: str) -> Prompt:
        """Returns the prompt that a template has rendered, cut wherever a control token is not its own."""
        first, *others = rendered.split(self._open)
        texts = [self.unmarked(first)]
        size = len(texts[0])
        written: list[Span] = []
        for other in others:
            own, mark, after = other.partition(self._close)
            if not mark:
                # A template that takes its own texts apart has none that are known to be its own.
                own, after = "", other
            after = self.unmarked(after)
            texts += own, after
            if own:
                begin = written.pop()[0] if written and written[-1][1] == size else size
                written.append((begin, size + len(own)))
            size += len(own) + len(after)
        text = "".join(texts)
        return Prompt(text, self._controls.cuts(text, written))

    def _mark(self, node: nodes.Node, *, written: bool, shown: bool) -> None:
        """Marks the texts below a node, which may be `written`, and are `shown` at once and not compared before."""
        if isinstance(node, nodes.TemplateData):
            node.data = self._mark_text(node.data, parts=True)
        elif isinstance(node, nodes.Const):
            if isinstance(node.value, str):
                if written and shown and node.value and any(node.value in text for text in self._controls.texts):
                    self._joins = self._joins or node.value not in self._controls.texts
                    node.value = self.marked(node.value)
                else:
                    node.value = self._mark_text(node.value, parts=written)
        else:
            shown = shown or isinstance(node, nodes.Output)
            for name, value in node.iter_fields():
                looked_for = isinstance(node, _LOOK) or (isinstance(node, _LOOK_BESIDE) and name != "node")
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, nodes.Node):
                        self._mark(child, written=written and not looked_for, shown=shown)

    def _mark_text(self, text: str, *, parts: bool) -> str:
        """Returns a text of the template with marks.

        With `parts`, its ends are marked too if a control token may begin or end there.
        """
        spans = self._controls.spans(text)
        if parts:
            size = min(spans[0][0] if spans else len(text), self._longest)
            head = _longest(self._ends, (text[:end] for end in range(size, 0, -1)))
            start = max(spans[-1][1] if spans else len(head), len(text) - self._longest)
            tail = _longest(self._beginnings, (text[begin:] for begin in range(start, len(text))))
            spans = [(0, len(head)), *spans, (len(text) - len(tail), len(text))]
            self._joins = self._joins or bool(head or tail)
        marked: list[str] = []
        at = 0
        for begin, end in spans:
            if begin < end:
                marked += text[at:begin], self.marked(text[begin:end])
                at = end
        return "".join([*marked, text[at:]])


def _random_mark() -> str:
    return "".join(chr(_FIRST + secrets.randbelow(_CHARACTERS)) for _ in range(_LENGTH))


def _parts(texts: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Returns the beginnings and the ends of texts, without the whole ones."""
    texts = list(texts)
    beginnings = {text[:at] for text in texts for at in range(1, len(text))}
    return frozenset(beginnings), frozenset(text[at:] for text in texts for at in range(1, len(text)))


def _longest(known: frozenset[str], texts: Iterable[str]) -> str:
    """Returns the first of the texts that is known, or an empty one."""
    return next((text for text in texts if text in known), "")
