"""Makes request ids: unique over all edges, and cheap."""

from __future__ import annotations

import random
import secrets


class RequestIds:
    """Draws ids of 128 random bits. They are names, not secrets, so one seed from the system serves for all of them."""

    def __init__(self) -> None:
        self._random = random.Random(secrets.randbits(256))  # noqa: S311 - see above

    def new(self) -> str:
        """Returns a new id, `req_…`."""
        return f"req_{self._random.getrandbits(128):032x}"
