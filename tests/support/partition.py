"""A way to PostgreSQL's unix socket that tests can block, as a network partition does: nothing is closed or refused."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa

_SOCKET = ".s.PGSQL.5432"


class Partition:
    """Relays connections to the server of a database URL; `async with` opens and closes it. `url` goes through it."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)
        self._directory = Path(tempfile.mkdtemp(prefix="tiermesh-way-", dir="/tmp"))
        self._open = asyncio.Event()
        self._open.set()
        self._relays: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The same database, by this way."""
        return self._url.update_query_dict({"host": str(self._directory)}).render_as_string(hide_password=False)

    def block(self) -> None:
        """Lets nothing through in either direction."""
        self._open.clear()

    def heal(self) -> None:
        """Lets everything through again, also what has waited."""
        self._open.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._connect, self._directory / _SOCKET)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)
        shutil.rmtree(self._directory)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = Path(str(self._url.query["host"])) / _SOCKET
        far_reader, far_writer = await asyncio.open_unix_connection(target)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            relay = asyncio.create_task(self._relay(source, sink))
            self._relays.add(relay)
            relay.add_done_callback(self._relays.discard)

    async def _relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self._open.wait()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()
