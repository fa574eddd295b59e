"""Rewrites regular expressions for text that stands within a JSON string.

They have Rust's syntax (https://docs.rs/regex/latest/regex/#syntax), as far as a text either matches as a whole or not.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from services.common.lark.characters import ESCAPES, Characters, is_escaped, pattern_of
from services.common.lark.errors import LarkError

# How often something may be repeated by a number, and how deep groups may stand in each other.
MOST_REPETITIONS, DEEPEST_GROUPS = 1000, 50
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "a": "\a"}
_CODE = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|[xuU]\{([0-9A-Fa-f]{1,8})\}")
# Categories of Unicode without any character that JSON escapes.
_CATEGORY = re.compile(r"[pP](?:[LMNSZ]|\{[LMNSZ][a-z]?\})")
_GROUP = re.compile(r"\?(?:P?<[A-Za-z_][A-Za-z0-9_]*>|(?P<on>[imsuU]*)(?:-(?P<off>[imsuU]+))?(?P<end>[:)]))")
_REPEATED = re.compile(r"[*+?]|\{\s*(\d*)\s*(?:,\s*(\d*)\s*)?\}")
# A slash ends a pattern in Lark, unless it is escaped.
_SLASH = re.compile(r"\\.|/", re.DOTALL)
# The white space of Unicode among the characters that JSON escapes.
_SPACES = "\t\n\x0b\f\r"


class _Flags(NamedTuple):
    """What letters of either case and dots match."""

    any_case: bool
    any_character: bool


class _Class(NamedTuple):
    """Which of the characters that JSON escapes are in a class, and whether it has others."""

    escaped: frozenset[str]
    others: bool


def rewritten(pattern: str, characters: Characters, flags: str = "", *, anchored: bool = False) -> str:
    """Returns the same pattern with its characters as `characters` writes them; raises LarkError.

    `flags` are those behind a pattern in Lark. `anchored` says that the pattern is for the whole text, so that anchors
    at its ends say nothing.
    """
    if unknown := set(flags) - set("imsu"):
        raise LarkError(f"the flag '{min(unknown)}' of a pattern is not supported; leave it out")
    if anchored:
        pattern = pattern.removeprefix("^")
        if pattern.endswith("$") and (len(pattern) - len(pattern[:-1].rstrip("\\"))) % 2:
            pattern = pattern[:-1]
    return _Rewriting(pattern, characters).run(_Flags("i" in flags, "s" in flags))


class _Rewriting:
    def __init__(self, pattern: str, characters: Characters) -> None:
        self._pattern = pattern
        self._characters = characters
        self._at = self._depth = 0
        # The classes so far, by what they are.
        self._written: dict[tuple[str, bool], str] = {}

    def run(self, flags: _Flags) -> str:
        """Returns the whole pattern."""
        whole = self._alternatives(flags)
        if self._at < len(self._pattern):
            raise LarkError("a pattern has a ')' without its '('; balance them")
        return whole

    def _alternatives(self, flags: _Flags) -> str:
        """Returns the pattern up to the end, or up to the parenthesis that closes its group."""
        parts: list[str] = []
        while (character := self._peek()) not in ("", ")"):
            self._at += 1
            if character == "|":
                parts.append("|")
            elif character == "(":
                flags, group = self._group(flags)
                parts.append(group and self._repeated(group))
            else:
                parts.append(self._repeated(self._atom(character, flags)))
        return "".join(parts)

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _group(self, flags: _Flags) -> tuple[_Flags, str]:
        """Returns the flags that hold after an opened group, and its pattern; "" if it only sets flags."""
        within = flags
        if self._peek() == "?":
            opening = _GROUP.match(self._pattern, self._at)
            if opening is None:
                raise LarkError("a pattern has a look-around or another group that is not regular; leave it out")
            self._at = opening.end()
            on, off = opening["on"] or "", opening["off"] or ""
            within = _Flags(
                (flags.any_case or "i" in on) and "i" not in off, (flags.any_character or "s" in on) and "s" not in off
            )
            if opening["end"] == ")":
                return within, ""
        self._depth += 1
        if self._depth > DEEPEST_GROUPS:
            raise LarkError(f"a pattern has more than {DEEPEST_GROUPS} groups within each other; make it flatter")
        inner = self._alternatives(within)
        self._depth -= 1
        if self._peek() != ")":
            raise LarkError("a pattern has a '(' without its ')'; balance them")
        self._at += 1
        return flags, f"(?:{inner})"

    def _repeated(self, atom: str) -> str:
        """Returns an atom with what says how often it is repeated; how greedily does not matter for a whole text."""
        found = _REPEATED.match(self._pattern, self._at)
        if found is None:
            return atom
        self._at = found.end()
        if self._peek() == "?":
            self._at += 1
        if _REPEATED.match(self._pattern, self._at):
            raise LarkError("a pattern repeats a repetition; put the inner one in parentheses")
        if found[0] in ("*", "+", "?"):
            return atom + found[0]
        least = found[1] or "0"
        most = least if found[2] is None else found[2]
        if max(int(least), int(most or 0)) > MOST_REPETITIONS:
            raise LarkError(f"a pattern repeats something more than {MOST_REPETITIONS} times; use fewer")
        return f"{atom}{{{least}}}" if found[2] is None else f"{atom}{{{least},{most}}}"

    def _atom(self, character: str, flags: _Flags) -> str:
        if character == ".":
            escaped = [each for each in ESCAPES if flags.any_character or each != "\n"]
            return self._several(
                r"[\s\S]" if flags.any_character else r"[^\n]", _Class(frozenset(escaped), True), flags
            )
        if character == "[":
            start = self._at - 1
            members = self._class()
            return self._several(self._pattern[start : self._at], members, flags)
        if character == "\\":
            return self._escape(flags)
        if character in "^$":
            raise LarkError(f"a pattern has the anchor '{character}', which says nothing within a text; leave it out")
        if character in "*+?{":
            raise LarkError(f"a pattern has '{character}' with nothing to repeat; escape it")
        return self._one(character, flags)

    def _one(self, character: str, flags: _Flags) -> str:
        written = self._characters.one(character)
        if flags.any_case and character.lower() != character.upper():
            return f"(?i:{written})"
        return written if len(written) == 1 or written == pattern_of(character) else f"(?:{written})"

    def _several(self, pattern: str, members: _Class, flags: _Flags) -> str:
        pattern = _SLASH.sub(lambda found: r"\/" if found[0] == "/" else found[0], pattern)
        known = self._written.get((pattern, flags.any_case))
        if known is None:
            escaped = [each for each in ESCAPES if each in members.escaped]
            written = self._characters.several(pattern, escaped, others=members.others)
            known = self._written[pattern, flags.any_case] = f"(?{'i' if flags.any_case else ''}:{written})"
        return known

    def _escape(self, flags: _Flags) -> str:
        """Returns what an escape outside a class stands for."""
        start = self._at - 1
        members = self._shorthand()
        if members is not None:
            return self._several(f"[{self._pattern[start : self._at]}]", members, flags)
        return self._one(self._escaped_character(), flags)

    def _shorthand(self) -> _Class | None:
        """Takes what stands for a class behind a backslash; None if it stands for one character."""
        kind = self._peek()
        if category := _CATEGORY.match(self._pattern, self._at):
            self._at = category.end()
            return _Class(frozenset(ESCAPES) if category[0][0] == "P" else frozenset(), True)
        if kind not in "dDwWsS" or not kind:
            return None
        self._at += 1
        inside = frozenset(_SPACES) if kind in "sS" else frozenset[str]()
        return _Class(inside if kind.islower() else frozenset(ESCAPES) - inside, True)

    def _escaped_character(self) -> str:
        """Takes the one character that stands behind a backslash."""
        if code := _CODE.match(self._pattern, self._at):
            self._at = code.end()
            number = int(next(filter(None, code.groups())), 16)
            if number > 0x10FFFF or 0xD800 <= number < 0xE000:
                raise LarkError("a pattern names a character that does not exist; leave it out")
            return chr(number)
        character = self._peek()
        self._at += 1
        if character in _CONTROLS:
            return _CONTROLS[character]
        if not character or character.isalnum() or character in "<>":
            raise LarkError(
                f"the escape '\\{character}' of a pattern is not supported; write what it stands for in another way"
            )
        return character

    def _class(self) -> _Class:
        """Takes a class in brackets, the first of which is taken already."""
        negated = self._peek() == "^"
        self._at += negated
        escaped: set[str] = set()
        others = False
        first = True
        while first or self._peek() != "]":
            first = False
            one = self._class_member()
            if isinstance(one, _Class):
                escaped |= one.escaped
                others = others or one.others
                continue
            last = one
            if self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                end = self._class_member()
                if isinstance(end, _Class) or end < one:
                    raise LarkError("a pattern has a range that does not go from a lower to a higher character")
                last = end
            escaped |= {each for each in ESCAPES if one <= each <= last}
            others = (
                others
                or ord(last) - ord(one) >= 0x20
                or not all(map(is_escaped, map(chr, range(ord(one), ord(last) + 1))))
            )
        self._at += 1
        # What is not in a class of a few characters is more than those that JSON escapes.
        return _Class(frozenset(ESCAPES) - escaped, True) if negated else _Class(frozenset(escaped), others)

    def _class_member(self) -> str | _Class:
        """Takes one character of a class, or a class within it."""
        character = self._peek()
        self._at += 1
        if not character:
            raise LarkError("a pattern has a '[' without its ']'; balance them")
        if character == "\\":
            return self._shorthand() or self._escaped_character()
        if character == "[" or (character in "&-~" and self._peek() == character):
            raise LarkError("a pattern has a class within a class; write its characters one by one")
        return character
