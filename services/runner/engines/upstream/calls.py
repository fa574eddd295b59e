"""Which call of an answer a part belongs to, however a server numbers them."""

from __future__ import annotations


class CallNumbers:
    """Numbers the calls of one answer in the order in which they begin.

    Some servers number all calls alike or not at all. A name begins a call, if its part has no number that is known,
    or comes with another id than the call of that number.
    """

    def __init__(self) -> None:
        self._begun = 0
        # By the number of the server: ours, and the id.
        self._calls: dict[int | None, tuple[int, str]] = {}

    def number(self, index: int | None, call_id: str, name: str) -> int:
        """Returns the number of the call to which the next part belongs."""
        known = self._calls.get(index)
        if known is not None and not (name and _differs(index, call_id, known[1])):
            return known[0]
        self._calls[index] = number, _ = self._begun, call_id
        self._begun += 1
        return number


def _differs(index: int | None, call_id: str, known: str) -> bool:
    """Returns whether a named part begins another call than the last one of its number."""
    return call_id != known if call_id else index is None
