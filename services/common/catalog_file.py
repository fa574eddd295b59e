"""Follows the catalog file, so that a changed price or a new model holds without a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client import Gauge

from services.common.catalog import Catalog, CatalogError, catalog_digest, load_catalog
from services.common.telemetry.logs import get_logger

log = get_logger()

# Seconds between two looks at the file, which is a few kilobytes.
INTERVAL = 2.0
USABLE = Gauge(
    "tiermesh_catalog_usable", "Whether the catalog file, as it is now, is right; else the last right one holds."
)


class CatalogFile:
    """Keeps `catalog` what the file says; a file that is wrong changes nothing.

    The content is compared, not the time: a Kubernetes ConfigMap is replaced by a link to another folder.
    """

    def __init__(self, path: str | Path) -> None:
        """Loads the file; raises CatalogError."""
        self._path = Path(path)
        # Read before it is loaded, so that a change between the two is seen at the next look.
        self._seen = self._content()
        self.catalog: Catalog = load_catalog(path)
        USABLE.set(1)

    async def follow(self, interval: float = INTERVAL) -> None:
        """Looks at the file every `interval` seconds until cancelled."""
        while True:
            await asyncio.sleep(interval)
            self.refresh()

    def refresh(self) -> None:
        """Takes the file over if its content has changed and is right."""
        content = self._content()
        if content == self._seen:
            return
        self._seen = content
        try:
            self.catalog.replace(load_catalog(self._path))
        except CatalogError as error:
            USABLE.set(0)
            log.error("catalog_unusable", reason=str(error))  # noqa: TRY400 - the message names file and place
            return
        USABLE.set(1)
        log.info("catalog_replaced", digest=catalog_digest(self.catalog), models=len(self.catalog.models))

    def _content(self) -> bytes | None:
        """Returns what the file holds; None if it cannot be read."""
        try:
            return self._path.read_bytes()
        except OSError:
            return None
