"""What needs a key that was shown a short time ago: a browser left open must not make keys for its finder."""

from __future__ import annotations

from aiohttp import web

from services.common.clock import Clock, to_ms
from services.console.visit import Visit

# How much longer a form that was opened in time may take to be filled in, in seconds.
FORM_SECONDS = 600.0


class Freshness:
    """Sends people whose key was last shown too long ago to show it once more. `seconds` is how long that is.

    A form may be sent `form_seconds` later than that.
    """

    def __init__(self, seconds: float, clock: Clock, *, form_seconds: float = FORM_SECONDS) -> None:
        self._seconds = seconds
        self._form_seconds = form_seconds
        self._clock = clock

    def demand(self, visit: Visit, onward: str) -> None:
        """Raises HTTPSeeOther to the page that asks for the key; from there the way goes on to `onward`."""
        allowed = self._seconds + (self._form_seconds if visit.request.method == "POST" else 0)
        if to_ms(self._clock()) - visit.signed_in.confirmed_at_ms > allowed * 1000:
            raise web.HTTPSeeOther(f"/confirm?next={onward}")
