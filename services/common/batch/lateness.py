"""Tells how late the frames of one stream are read, though the clocks of its two ends have nothing in common.

The difference between the clocks is not known, but it is at most the smallest that any frame has shown between the
client's time in it and the time of its reading. What a later frame shows above that is delay: a process that was
stopped, a machine that was suspended, a network that held the frame back. A call whose caller has stopped waiting
meanwhile must not be done: its caller may have told somebody that it was not.
"""

from __future__ import annotations

from collections.abc import Callable

# Clocks that never jump still run apart, by less than so many seconds each second: NTP corrects a clock by 500 ppm at
# most. Without it, a stream that lives for weeks would take that for delay.
_DRIFT = 0.001


class Lateness:
    """Measures frame by frame. `clock` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._measured_at = 0.0
        # The smallest difference; None before the first frame.
        self._least: float | None = None

    def of(self, sent_ms: int) -> float:
        """Returns how many seconds later than the promptest frame one is read; 0 if it does not say when it left."""
        if not sent_ms:
            return 0.0
        now = self._clock()
        difference = now - sent_ms / 1000
        if self._least is None:
            self._least = difference
        else:
            self._least = min(difference, self._least + (now - self._measured_at) * _DRIFT)
        self._measured_at = now
        return difference - self._least
