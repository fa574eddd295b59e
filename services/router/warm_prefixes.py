"""Which runners have read the beginning of a conversation, as far as this router has placed it there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.router.runners.live_runner import LiveRunner

# 2,000 to 4,000 long conversations: more than the caches of a large tier hold. At most about 8 MB.
MOST_PREFIXES = 2**16
# A beginning that many conversations share, such as instructions, is soon warm at many runners; a few are enough.
MOST_RUNNERS = 4


class WarmPrefixes:
    """Remembers about `limit` prefixes at most; at least half as many others must be used before one is forgotten.

    Nobody tells of what engines drop from their caches, and runners that have gone stay here until they are pushed out:
    what is said here is a guess, and a wrong one costs no more than not to guess.
    """

    def __init__(self, limit: int = MOST_PREFIXES) -> None:
        self._half = limit // 2
        # By hash; the runner that was given it last comes first. Two generations are a fourth of the memory and half
        # the time of an exact order of use: once the new one is full, the old one goes, with all that was not used
        # meanwhile.
        self._new: dict[int, tuple[LiveRunner, ...]] = {}
        self._old: dict[int, tuple[LiveRunner, ...]] = {}

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def runners(self, hashes: Sequence[int]) -> Iterator[LiveRunner]:
        """Yields each runner that has read one of these prefixes, those of the longest first; `hashes` ends with it."""
        new, old = self._new, self._old
        seen: set[LiveRunner] = set()
        for prefix in reversed(hashes):
            for runner in new.get(prefix) or old.get(prefix) or ():
                if runner not in seen:
                    seen.add(runner)
                    yield runner

    def remember(self, hashes: Sequence[int], runner: LiveRunner) -> None:
        """Notes that a runner reads all these prefixes now."""
        new, old = self._new, self._old
        alone = (runner,)
        for prefix in hashes:
            runners = new.get(prefix) or old.get(prefix) or alone
            if runners[0] is not runner:
                others = (other for other in runners if other is not runner)
                runners = (runner, *others)[:MOST_RUNNERS]
            new[prefix] = runners
        if len(new) >= self._half:
            self._old, self._new = new, {}
