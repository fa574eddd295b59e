"""What the ExLlamaV2 engine knows about its GPUs and its load."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

# The rate is that of so many seconds.
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Facts:
    """Figures at one moment."""

    # Names of the GPUs, in the order of CUDA.
    gpus: tuple[str, ...]
    # Bytes of all GPUs together.
    gpu_memory_used: int
    gpu_memory_total: int
    # Pages of the cache, 256 tokens each; free ones may still hold prefixes that a new job can reuse.
    pages_free: int
    pages_total: int
    # Jobs in the generator now.
    batch_size: int
    # Tokens that all jobs together produced in each second of the last ten.
    tokens_per_second: float
    # Times that the generator was made anew after a crash.
    restarts: int


class Throughput:
    """Tokens a second over the last seconds, by a steady clock that the caller reads."""

    def __init__(self) -> None:
        # When, and how many.
        self._counts: deque[tuple[float, int]] = deque()

    def add(self, now: float, tokens: int) -> None:
        """Counts the tokens of one iteration."""
        self._counts.append((now, tokens))
        while now - self._counts[0][0] >= _SECONDS:
            self._counts.popleft()

    def rate(self, now: float) -> float:
        """Returns tokens a second; another thread may ask."""
        return sum(tokens for at, tokens in tuple(self._counts) if now - at < _SECONDS) / _SECONDS
