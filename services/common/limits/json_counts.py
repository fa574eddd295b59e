"""Counts what a JSON text would become, in linear time and before anything is made of it.

To read JSON costs a fraction of a microsecond and up to a few hundred bytes for each value, so that a text of a few
megabytes can take seconds and hundreds of megabytes. The counts here are those of a text that is valid. One that is not
is read no further than its first mistake, and up to there it is counted as it is read.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

# Bytes of a text from which on it is counted: smaller ones are read within milliseconds, whatever they hold.
LEAST_BYTES = 64 * 1024
# Quotation marks from which on a text is not taken apart: that alone would cost too much.
MOST_QUOTES = 800_000

# What is outside of strings and what is inside, alternately; it begins outside.
Pieces: TypeAlias = list[bytes]


class JsonCounts(NamedTuple):
    """How much a text holds."""

    # Objects and lists.
    containers: int = 0
    # Values in all, but for the outermost: also the containers, and the members of objects without their names.
    values: int = 0
    # Members of objects: names cost more than anything else.
    members: int = 0
    # Decimal points and exponents of numbers: one that has them may take 10 µs to read.
    fractions: int = 0

    def plus(self, other: JsonCounts) -> JsonCounts:
        """Returns the counts of two texts together."""
        return JsonCounts(*(mine + its for mine, its in zip(self, other, strict=True)))

    def excess(self, most: JsonCounts) -> str:
        """Names what goes beyond `most`, with the bound, as in "50000 objects and lists"; empty if nothing does."""
        if self.containers > most.containers:
            return f"{most.containers} objects and lists"
        if self.values > most.values:
            return f"{most.values} values"
        if self.members > most.members:
            return f"{most.members} members of objects"
        if self.fractions > most.fractions:
            return f"{most.fractions} decimal points and exponents in numbers"
        return ""


# The most that one request may make anybody read: reading it takes less than 0.2 s and 100 MiB.
MOST_COUNTS = JsonCounts(containers=50_000, values=400_000, members=150_000, fractions=10_000)


def take_apart(text: bytes) -> Pieces | None:
    """Returns a text in pieces, strings without their escaped backslashes and quotes; None for too many quotes."""
    if b"\\" in text:
        # What is left of a run of backslashes is the odd one, and a quote after it does not end a string.
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return text.split(b'"') if text.count(b'"') <= MOST_QUOTES else None


def count(pieces: Pieces | None) -> JsonCounts:
    """Returns the counts of a text that was taken apart; those of one that could not be are beyond any bound."""
    if pieces is None:
        return JsonCounts(values=MOST_QUOTES // 2 + 1)
    structure = b"".join(pieces[::2])
    containers = structure.count(b"[") + structure.count(b"{")
    words = structure.count(b"true") + structure.count(b"false")
    fractions = structure.count(b".") + structure.count(b"e") + structure.count(b"E") - words
    return JsonCounts(containers, containers + structure.count(b","), structure.count(b":"), fractions)


def count_json(text: bytes) -> JsonCounts:
    """Returns the counts of a JSON text."""
    return count(take_apart(text))
