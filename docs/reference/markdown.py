"""Renders text as Markdown; the formatter of this repository has the last word on its form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# Code, which stays as it is, or a character that Markdown or HTML gives a meaning to.
_SPECIAL = re.compile(r"(`[^`]*`)|([*_<\[])")


def escape(text: str) -> str:
    """Escapes what Markdown gives a meaning to, except code in backquotes."""
    return _SPECIAL.sub(lambda match: match[1] or "\\" + match[2], text)


def code(text: str) -> str:
    """Returns text as code; nothing for an empty text."""
    return f"`{text}`" if text else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table, with an empty line behind it."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells) + "\n"
