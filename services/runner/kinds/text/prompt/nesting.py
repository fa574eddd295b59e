"""Finds the end of a JSON object or array in text that comes in pieces."""

from __future__ import annotations

# What JSON can have outside of its strings.
_OUTSIDE = frozenset("{}[]:,-+.0123456789eEtrufalsn \t\r\n")


class Nesting:
    """Follows one object or array, from its first bracket, or from within `depth` brackets, to its last."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._in_string = self._escaped = False
        self.closed = False
        # Whether something has come that JSON cannot have outside of its strings.
        self.broken = False

    def take(self, text: str) -> int:
        """Returns how many of the next characters belong to it: all of them until it is `closed`."""
        for at, character in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                self._escaped = character == "\\"
                self._in_string = character != '"'
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    self.closed = True
                    return at + 1
            elif character not in _OUTSIDE:
                self.broken = True
        return len(text)
