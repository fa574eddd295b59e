"""Whether something is lost, and whether that is news: one log line tells of it, not one for each attempt."""

from __future__ import annotations


class Outage:
    """One thing that may be lost. It logs nothing: who uses it knows the words."""

    def __init__(self) -> None:
        # Why it is lost; None while it is not.
        self._reason: str | None = None

    def begin(self, reason: str = "") -> bool:
        """Notes a failure; returns whether it is the first since the last success, or the first for this reason.

        Who wants to tell of an outage once, whatever the reasons of its failures, gives none.
        """
        news = reason != self._reason
        self._reason = reason
        return news

    def end(self) -> bool:
        """Notes a success; returns whether it ends an outage."""
        ended = self._reason is not None
        self._reason = None
        return ended
