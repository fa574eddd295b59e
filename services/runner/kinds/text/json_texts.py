"""Reads the JSON texts of one call, which are bounded together before they are read."""

from __future__ import annotations

from typing import Any

import msgspec

from services.common.limits.json_counts import LEAST_BYTES, MOST_COUNTS, JsonCounts, count_json
from services.common.limits.json_nesting import check_nesting


class JsonTexts:
    """Reads objects until what they hold is too much for one call; the first few kilobytes are not even counted."""

    def __init__(self) -> None:
        self._size = 0
        self._counts = JsonCounts()

    def read_object(self, text: str) -> dict[str, Any] | None:
        """Returns the JSON object that a text is; None if it is none, or one too much.

        Python's own reader would let half of a surrogate pair through, which no engine can be sent.
        """
        content = text.encode()
        self._size += len(content)
        if self._size > LEAST_BYTES:
            self._counts = self._counts.plus(count_json(content))
            if self._counts.excess(MOST_COUNTS):
                return None
        try:
            check_nesting(content)
            value = msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError):
            return None
        return value if isinstance(value, dict) else None
