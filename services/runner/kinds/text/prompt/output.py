"""What a parser has recognised in a model's text."""

from __future__ import annotations

from msgspec import Struct, field


class CallDelta(Struct):
    """New characters of one call; `id` and `name` are set in its first delta only."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class ParsedText(Struct):
    """What has been recognised and not been taken yet."""

    content: list[str] = field(default_factory=list)
    # Where each piece of content stands in the model's text: how many characters of what has been fed come after its
    # beginning, and after its end. Pieces of several feeds count from the end of their own.
    places: list[tuple[int, int]] = field(default_factory=list)
    # How many of `calls` had come before each piece of content.
    calls_before: list[int] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[CallDelta] = field(default_factory=list)


def add(parts: list[str], text: str) -> None:
    """Adds text, if there is any."""
    if text:
        parts.append(text)


def add_content(out: ParsedText, text: str, held: int) -> None:
    """Adds content, if there is any, that is the beginning of the last `held` characters."""
    if text:
        out.content.append(text)
        out.places.append((held, held - len(text)))
        out.calls_before.append(len(out.calls))


def decided(text: str, *tags: str) -> str:
    """Returns the beginning of a text that cannot be part of one of the tags or of the white space before it."""
    most = min(max(len(tag) for tag in tags) - 1, len(text))
    for length in range(most, 0, -1):
        end = text[-length:]
        if any(tag.startswith(end) for tag in tags):
            return text[:-length].rstrip()
    return text.rstrip()
