"""What is known of an HTTP request beside its body."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class RequestContext:
    """One request; `arrived` is in the monotonic clock's seconds."""

    request_id: str
    arrived: float
    # Headers that every response to this request carries.
    headers: dict[str, str] = field(default_factory=dict)
