"""What one client did and saw: the only evidence that counts beside the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.chaos.plan import RequestPlan


class End(StrEnum):
    """How a request ended for its client."""

    UNKNOWN = "unknown"
    # The end was seen: [DONE], or the whole body.
    COMPLETE = "complete"
    # An HTTP error.
    REFUSED = "refused"
    # A stream that ended with an error frame.
    ERROR_FRAME = "error frame"
    # The client went away by itself.
    LEFT = "left"
    # The connection broke.
    BROKEN = "broken"
    # Nobody listened, for as long as the client cared to try.
    NOT_CONNECTED = "not connected"
    # Neither an answer nor an error came in time.
    STUCK = "stuck"


@dataclass(slots=True)
class Record:
    """One request. Times are in seconds since the Unix epoch, as the ledger's are in milliseconds."""

    number: int
    plan: RequestPlan
    account_id: str
    # Every request has a key of its own: its row in the ledger is found even if no header was ever seen.
    key_id: str
    api_key: str = field(repr=False)
    sent: float = 0.0
    ended: float = 0.0
    end: End = End.UNKNOWN
    status: int = 0
    request_id: str = ""
    pieces: int = 0
    text: str = ""
    finish_reason: str | None = None
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    # Credits that the response itself says were charged.
    receipt: int | None = None
    # Credits that the ledger had charged at the moment the end was seen; None if it could not be asked.
    charged_at_end: int | None = None
    # What no correct stream does.
    oddities: list[str] = field(default_factory=list)

    @property
    def words(self) -> int:
        """How many tokens were seen: the simulated engine's are words."""
        return len(self.text.split())
