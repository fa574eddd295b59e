"""Finds the receipt in what a client has kept of an answer, and the part of the answer that it is about."""

from __future__ import annotations

import re

from services.common.receipts.claims import COMMENT, HEADER

_TOKEN = rb"[A-Za-z0-9_.-]+"
# The end of a stream of events.
_AT_END = re.compile(rb"(?:^|\n)%b(%b)\s*\Z" % (re.escape(COMMENT), _TOKEN))
# A line of the head of a response, or of its trailers, as curl and others write it.
_IN_HEAD = re.compile(rb"^%b:[ \t]*(%b)[ \t]*\r?$" % (HEADER.encode(), _TOKEN), re.IGNORECASE | re.MULTILINE)


def find_token(text: bytes) -> str:
    """Returns the token in a stream, in the head of a response, or by itself; text without one is returned stripped."""
    found = _AT_END.search(text) or _IN_HEAD.search(text)
    return (found[1] if found else text.strip()).decode(errors="replace")


def covered(answer: bytes) -> bytes:
    """Returns the part of an answer that its digest is of: all of it, except the receipt at the end of a stream."""
    found = _AT_END.search(answer)
    # The line break before it belongs to the last event.
    return answer[: found.start(1) - len(COMMENT)] if found else answer
