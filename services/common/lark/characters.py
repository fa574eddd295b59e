"""Characters within a JSON string, as regular expressions of Rust's syntax.

JSON writes 34 characters as escapes; each escape begins with a backslash, and no other character does. So a text is in
the language of a pattern exactly if its JSON form is in the language of the pattern with each character replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from services.common.lark.errors import LarkError

# The characters that JSON writes as escapes, each with its shortest one.
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
ESCAPES = {**{chr(code): f"\\u{code:04x}" for code in range(0x20)}, **_SHORT}
# All others.
_OTHERS = r'[^"\\\x00-\x1f]'
_META = re.compile(r"[\\.+*?()|\[\]{}^$#&~/-]")


def is_escaped(character: str) -> bool:
    """Whether JSON writes a character as an escape."""
    return character in ESCAPES


def escaped_text(text: str) -> str:
    """Returns a text as it stands within a JSON string."""
    return "".join(ESCAPES.get(character, character) for character in text)


def pattern_of(text: str) -> str:
    """Returns the pattern of exactly this text."""
    return _META.sub(r"\\\g<0>", text)


def _digits(codes: list[str]) -> str:
    """Returns the pattern of numbers of two hexadecimal digits, of which the first is 0 or 1."""
    lasts = {first: "".join(code[1] for code in codes if code[0] == first) for first in "01"}
    return "|".join(f"{first}[{digits}]" for first, digits in lasts.items() if digits)


class Characters(Protocol):
    """How the characters of a pattern are written."""

    def one(self, character: str) -> str:
        """Returns the pattern of one character."""

    def several(self, pattern: str, escaped: Iterable[str], *, others: bool) -> str:
        """Returns the pattern of a class of characters.

        `pattern` is the class itself, `escaped` are its members that JSON escapes, and `others` says whether there are
        any others.
        """


class Escaped:
    """Every character as JSON writes it."""

    def one(self, character: str) -> str:
        """Returns the pattern of one character."""
        return pattern_of(escaped_text(character))

    def several(self, pattern: str, escaped: Iterable[str], *, others: bool) -> str:
        """Returns the pattern of a class of characters."""
        options = [f"[{pattern}&&{_OTHERS}]"] if others else []
        escapes = [ESCAPES[character] for character in escaped]
        if letters := "".join(pattern_of(escape[1]) for escape in escapes if len(escape) == 2):
            options.append(rf"\\[{letters}]")
        if digits := _digits([escape[-2:] for escape in escapes if len(escape) > 2]):
            options.append(rf"\\u00(?:{digits})")
        return "|".join(options)


class Unescaped:
    """Only the characters that stand for themselves within a JSON string: classes of characters lose all others."""

    def one(self, character: str) -> str:
        """Returns the pattern of one character; raises LarkError for one that has to be escaped."""
        if is_escaped(character):
            raise _beyond()
        return pattern_of(character)

    def several(self, pattern: str, escaped: Iterable[str], *, others: bool) -> str:
        """Returns the pattern of a class of characters; raises LarkError if all of them have to be escaped."""
        del escaped
        if not others:
            raise _beyond()
        return f"[{pattern}&&{_OTHERS}]"


def _beyond() -> LarkError:
    return LarkError(
        "its rules refer to themselves and ask for line breaks, quotation marks, backslashes or control characters; "
        "use repetition instead of recursion"
    )
