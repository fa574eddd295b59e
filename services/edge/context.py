"""What is known of an HTTP request beside its body."""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field

from services.common.clock import Clock, system_clock, to_ms
from services.common.telemetry.tracing import Span

# The bits of an id's time.
_MILLISECONDS = (1 << 48) - 1


class RequestIds:
    """Draws ids that begin with the time: 48 bits of milliseconds since 1970, then 80 random bits.

    So the ledger adds its newest requests at one end of its indexes, which stay in memory however old it grows. Nothing
    may rely on the order: clocks differ and go back. Ids are names, not secrets, so one seed from the system serves for
    all of them.
    """

    def __init__(self, seed: int | None = None, clock: Clock = system_clock) -> None:
        self._random = random.Random(secrets.randbits(256) if seed is None else seed)  # noqa: S311 - see above
        self._clock = clock

    def new(self) -> str:
        """Returns a new id, `req_…`."""
        return f"req_{to_ms(self._clock()) & _MILLISECONDS:012x}{self._random.getrandbits(80):020x}"


@dataclass(slots=True)
class RequestContext:
    """One request; `arrived` is in the monotonic clock's seconds."""

    request_id: str
    arrived: float
    # Headers that every response to this request carries.
    headers: dict[str, str] = field(default_factory=dict)
    # The catalog id of the model that it pays for; empty before that is known.
    model: str = ""
    # Seconds that the mesh itself has spent on it so far, as far as it is measured.
    overhead: float = 0.0
    # Whether it is being placed on a runner: then an error is the router's.
    placing: bool = False
    # Its span, if it is traced.
    trace: Span | None = None
