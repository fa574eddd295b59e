"""The current time as a dependency, so that tests decide what time it is."""

import time
from collections.abc import Callable

# Seconds since the Unix epoch.
Clock = Callable[[], float]


def system_clock() -> float:
    """Returns the machine's time."""
    return time.time()


def to_ms(seconds: float) -> int:
    """Converts seconds to the whole milliseconds that contracts carry."""
    return int(seconds * 1000)
