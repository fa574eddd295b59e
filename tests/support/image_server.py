"""An HTTPS server that answers with exactly the bytes of the test, honest or not."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Self

from services.common.settings import TlsSettings


def http_response(body: bytes, *headers: str, status: str = "200 OK", content_type: str = "image/png") -> bytes:
    """Returns a response; a length in `headers` replaces the true one."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", *headers]
    if not any(header.lower().startswith(("content-length", "transfer-encoding")) for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class ImageServer:
    """Answers each path with its bytes, and records the requests.

    After a response of `stalling` paths it neither sends nor closes; it repeats the body of `endless` paths for ever.
    """

    def __init__(self, tls: TlsSettings, host: str = "127.0.0.1") -> None:
        self.responses: dict[str, bytes] = {}
        self.stalling: set[str] = set()
        self.endless: dict[str, bytes] = {}
        self.requests: list[str] = []
        # Connections, which begin before any request.
        self.connections = 0
        self._host = host
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(tls.cert_file, tls.key_file)
        self._server: asyncio.Server | None = None
        self._stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "the server was not started"
        return int(self._server.sockets[0].getsockname()[1])

    def url(self, path: str, host: str = "localhost") -> str:
        """Returns the URL of a path."""
        return f"https://{host}:{self.port}{path}"

    async def start(self, port: int = 0) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._serve, self._host, port, ssl=self._context)

    async def stop(self) -> None:
        """Closes every connection."""
        self._stopping.set()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.requests.append(head)
            path = head.split(" ", 2)[1]
            writer.write(self.responses.get(path, http_response(b"", status="404 Not Found")))
            while path in self.endless and not self._stopping.is_set():
                writer.write(self.endless[path])
                await writer.drain()
                # The loop learns only in a turn of its own that the fetcher has gone, which ends `drain`.
                await asyncio.sleep(0)
            if path in self.stalling:
                await writer.drain()
                await self._stopping.wait()
        except (ConnectionError, asyncio.IncompleteReadError):
            # A fetcher that has read enough hangs up.
            pass
        finally:
            writer.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
