"""Notices when this process stood still: stopped, swapped out, or suspended with its machine.

What it has not heard meanwhile says nothing of others: they have spoken, and nobody has read it. After a pause they get
as much time to be heard as after a start.
"""

from __future__ import annotations

from collections.abc import Callable

# Seconds without a beat that are taken for a pause. Beats come twenty times a second; what is shorter breaks no stream.
LONGEST_GAP = 1.0


class Pauses:
    """Follows the beats of this process. `clock` counts seconds and never goes back; it runs on in a pause."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._beat_at = clock()
        self._ended_at: float | None = None

    def beat(self) -> None:
        """Must be called several times a second."""
        self._notice()
        self._beat_at = self._clock()

    def since(self) -> float | None:
        """Returns for how many seconds the process has run since its last pause; None if there was none.

        A pause is noticed by the first that asks, before any beat.
        """
        self._notice()
        return None if self._ended_at is None else self._clock() - self._ended_at

    def _notice(self) -> None:
        now = self._clock()
        if now - self._beat_at > LONGEST_GAP:
            self._ended_at = self._beat_at = now
