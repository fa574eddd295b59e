"""The documentation shows the table of what servers lack as the code has it."""

from __future__ import annotations

from pathlib import Path

from services.runner.engines.upstream.quirks import KINDS, UNKNOWN, Quirks
from services.runner.kinds.conversation.lacks import ALWAYS, BY_SERVER, DIFFERENCES, SEED, Refused

PAGE = Path(__file__).parents[5] / "docs" / "upstream.md"


def rows(heading: str) -> list[tuple[str, str]]:
    """Returns the first two columns of the first table after a heading."""
    section = PAGE.read_text(encoding="utf-8").partition(f"{heading}\n")[2]
    lines = section[section.index("\n| ") + 1 :].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
    return [(first, second) for first, second, *_ in cells]


def test_what_is_refused_is_listed() -> None:
    expected = [(lack.what, lack.reason) for lack in ALWAYS]
    for lack in BY_SERVER:
        names = [kind.name for kind in KINDS if chats(kind) and lacks(kind, lack)] + ["others"] * lacks(UNKNOWN, lack)
        expected.append((lack.what, f"{lack.reason}: {', '.join(names)}"))
    assert rows("## What is refused in chats") == expected


def chats(kind: Quirks) -> bool:
    """Returns whether servers of a kind can have chats."""
    return kind.kinds is None or "chat" in kind.kinds


def lacks(kind: Quirks, lack: Refused) -> bool:
    """Returns whether servers of a kind are not sent a parameter."""
    return lack.param in kind.ignored if lack is SEED else lack.param not in kind.parameters


def test_what_differs_is_listed() -> None:
    assert rows("## What differs from other engines") == [(one.what, one.instead) for one in DIFFERENCES]
