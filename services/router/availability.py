"""Which models can be served now, for those who show it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple

from services.common.catalog import Catalog
from services.router.runners.table import Table


class ModelCount(NamedTuple):
    """How many healthy runners serve a model."""

    model: str
    runners: int


class Availability:
    """The number of healthy runners of each model. `refresh` must be called several times a second.

    Looking again at fixed times, instead of at each change, brings changes that come together into one message.
    """

    def __init__(self, catalog: Catalog, table: Table) -> None:
        self._catalog = catalog
        self._table = table
        # None until it is known who exists and who of them lives: a router that has just started must not tell
        # everybody that nothing is available.
        self._counts: tuple[ModelCount, ...] | None = None
        self._changed = asyncio.Event()
        self._closed = False

    def refresh(self) -> None:
        """Counts, and wakes the followers if the counts have changed."""
        if self._counts is None and (not self._table.synced or self._table.connecting()):
            return
        counts = tuple(ModelCount(model.id, len(self._table.serving(model.id))) for model in self._catalog.models)
        if counts != self._counts:
            self._counts = counts
            self._wake()

    async def follow(self) -> AsyncGenerator[tuple[ModelCount, ...], None]:
        """Yields the counts now and after each change; a slow follower misses what lies between. Ends with `drain`."""
        while not self._closed:
            changed = self._changed
            if self._counts is not None:
                yield self._counts
            await changed.wait()

    async def drain(self, seconds: float) -> None:
        """Ends every follower."""
        del seconds
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
