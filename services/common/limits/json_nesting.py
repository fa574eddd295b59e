"""Refuses JSON that is nested deeper than anything needs to be, before anything is made of it.

What reads it goes down into it by calls. Until Python 3.11 these shared the bound of Python's own calls. Newer ones let
C go down 10,000 levels and more, where nothing that works on the values in Python could follow.
"""

from __future__ import annotations

from itertools import accumulate

from services.common.limits.json_counts import take_apart

# Fewer than Python's bound of 1000 calls, some of which are always used.
MOST_NESTED = 900
_OPENING, _CLOSING = b"[{", b"]}"
# As signed bytes, one level more and one less.
_LEVELS = bytes.maketrans(_OPENING + _CLOSING, bytes([1, 1, 255, 255]))
_OTHERS = bytes(set(range(256)) - set(_OPENING + _CLOSING))


def check_nesting(text: bytes) -> None:
    """Raises RecursionError, as what reads it would, if a JSON text is nested too deeply.

    A text that is not valid may pass, and is read no further than its first mistake.
    """
    if not _has_many_containers(text):
        return
    pieces = take_apart(text)
    if pieces is None:
        raise RecursionError("too many strings to tell how deeply they are nested")
    steps = memoryview(b"".join(pieces[::2]).translate(_LEVELS, _OTHERS)).cast("b")
    if max(accumulate(steps), default=0) > MOST_NESTED:
        raise RecursionError("nested too deeply")


def _has_many_containers(text: bytes) -> bool:
    """Whether there are enough of them for too many levels; to look for each is faster in large texts than to count."""
    left = MOST_NESTED
    for kind in (b"{", b"["):
        at = text.find(kind)
        while at >= 0:
            if left == 0:
                return True
            left -= 1
            at = text.find(kind, at + 1)
    return False
