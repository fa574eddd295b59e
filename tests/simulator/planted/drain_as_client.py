"""An edge that breaks off what it has not finished when it stops, and takes its own cancellations for the client's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from services.edge.http import server
from services.edge.paid import path
from services.edge.paid.cut_off import CutOff


@contextmanager
def planted() -> Iterator[None]:
    """Has the mistake for as long as the block runs."""
    with (
        patch.object(CutOff, "now", lambda _: None),
        patch.object(server, "_LAST_SECONDS", 0.0),
        patch.object(server, "_CANCEL_SECONDS", 0.01),
        patch.object(path, "_has_left", lambda _: True),
    ):
        yield
