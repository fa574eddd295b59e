"""What a parser has recognised in a model's text."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class CallDelta:
    """New characters of one call; `id` and `name` are set in its first delta only."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class ParsedText:
    """What has been recognised and not been taken yet."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[CallDelta] = field(default_factory=list)


def add(parts: list[str], text: str) -> None:
    """Adds text, if there is any."""
    if text:
        parts.append(text)


def add_decided(parts: list[str], text: str, tag: str) -> str:
    """Adds what cannot be part of `tag` or of the white space before it, and returns the rest."""
    start = len(text)
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-length:]):
            start -= length
            break
    decided = text[:start].rstrip()
    add(parts, decided)
    return text[len(decided) :]
