"""A billing service that waits for the disk at no commit: a crash of its database takes back what was charged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from services.billing.store import store


@contextmanager
def planted() -> Iterator[None]:
    """Has the mistake for as long as the block runs."""
    with patch.object(store, "needs_sync", lambda _: False):
        yield
