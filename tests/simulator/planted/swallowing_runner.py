"""A runner that takes requests and answers nothing while its status looks well, and an edge that does not notice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from services.edge.paid.progress import ProgressWatch
from services.runner.engines.simulated.engine import SimulatedEngine
from tests.simulator.machine.loop import current_process

_honest = SimulatedEngine._schedule


def _schedule(engine: SimulatedEngine, loop: asyncio.AbstractEventLoop) -> None:
    if current_process().name != "runner-1":
        _honest(engine, loop)


@contextmanager
def planted() -> Iterator[None]:
    """Has the mistake for as long as the block runs."""
    with patch.object(SimulatedEngine, "_schedule", _schedule), patch.object(ProgressWatch, "look", lambda _: None):
        yield
