"""Keeps what clients write from being read as control tokens.

A tokenizer reads the text of a control token, such as `<|im_end|>`, as that token wherever it stands. Only templates
may write them. Where a client has, the prompt is cut within that text, and engines make tokens of each side by itself:
they are those of plain text. A prompt without such words has no cuts, and its tokens are those of its whole text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from services.runner.kinds.text.prompt.marks import MARKS

# Beginning and end of a piece of a text, in characters.
Span = tuple[int, int]
# How the control tokens of most families look; DeepSeek's bars are wide.
_TAG = re.compile(r"<[|\uff5c].+[|\uff5c]>", re.DOTALL)
_Trie = dict[str, "_Trie"]


class Prompt(str):
    """The text of a prompt, and where it must be cut before it is made tokens: offsets in characters, ascending."""

    __slots__ = ("cuts",)

    cuts: tuple[int, ...]

    def __new__(cls, text: str, cuts: tuple[int, ...] = ()) -> Prompt:
        """Returns the prompt."""
        prompt = super().__new__(cls, text)
        prompt.cuts = cuts
        return prompt


def control_texts(controls: Iterable[str], others: Iterable[str], template: str) -> frozenset[str]:
    """Returns the texts that only a chat template may write.

    `controls` are the model's control tokens. `others` are further texts that its tokenizer never takes apart. Some
    models list tags of thoughts and calls there, and some list runs of white space and HTML, which everybody writes: a
    text counts if it looks like a control token, or if the template writes it. The tags of thoughts and calls that this
    runner knows always count, because templates look for them in messages.
    """
    tags = {text for text in others if _TAG.fullmatch(text) or (_is_tag(text) and text in template)}
    return MARKS | {text for text in tags.union(controls) if text.strip() and len(text) > 1}


def _is_tag(text: str) -> bool:
    return any(character.isalpha() for character in text) and not text.isalnum()


class ControlTexts:
    """The texts of control tokens of one model."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = frozenset(texts)
        # Vocabularies may have thousands: a tree of their characters is as fast as one of them.
        self._pattern = re.compile(_expression(_trie(self.texts)) if self.texts else r"(?!)")

    def spans(self, text: str) -> list[Span]:
        """Returns where they stand in a text, the longest first of those that overlap."""
        return [match.span() for match in self._pattern.finditer(text)]

    def plain(self, text: str) -> Prompt:
        """Returns a text of a client as a prompt."""
        return Prompt(text, self.cuts(text))

    def cuts(self, text: str, written: Sequence[Span] = ()) -> tuple[int, ...]:
        """Returns where to cut a text so that no control token is in it, other than those in one span of `written`.

        The spans ascend, and neither touch nor overlap. Each cut is behind the first character of a control token, or
        behind one in `written` that is the beginning of a longer one.
        """
        cuts: list[int] = []
        spans = iter(written)
        begin, end = next(spans, (len(text), len(text)))
        match = self._pattern.search(text)
        while match:
            at, stop = match.span()
            while end <= at:
                begin, end = next(spans, (len(text), len(text)))
            own = match
            if begin <= at < end < stop:
                own = self._pattern.match(text, at, end) or match
            whole = begin <= at and own.end() <= end
            after = own.end() if whole else at + 1
            if not whole or own is not match:
                cuts.append(after)
            match = self._pattern.search(text, after)
        return tuple(cuts)


def pieces(text: str, cuts: Sequence[int]) -> list[str]:
    """Returns a text cut at these offsets."""
    return [text[begin:end] for begin, end in pairwise([0, *cuts, len(text)])]


def _trie(texts: Iterable[str]) -> _Trie:
    """Returns the characters of the texts as a tree; an empty key is the end of one."""
    root: _Trie = {}
    for text in texts:
        node = root
        for character in text:
            node = node.setdefault(character, {})
        node[""] = {}
    return root


def _expression(node: _Trie) -> str:
    """Returns the regular expression of a tree, which prefers long texts."""
    branches = [re.escape(character) + _expression(node[character]) for character in sorted(node) if character]
    if not branches:
        return ""
    expression = branches[0] if len(branches) == 1 and "" not in node else f"(?:{'|'.join(branches)})"
    return expression + "?" if "" in node else expression
