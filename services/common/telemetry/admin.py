"""The operator's HTTP face of every process: /metrics, /healthz and /readyz.

It is answered by the event loop that does the work, so that a probe fails when the loop hangs. A web framework would
cost each process 10 MB for these three paths (docs/decisions/0009-admin-without-a-framework.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import REGISTRY, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

Check = Callable[[], bool]

# Bytes of a request's head, and seconds for a whole exchange: scrapers and probes need far less.
HEAD_LIMIT = 16 * 1024
EXCHANGE_SECONDS = 10.0
_TEXT = "text/plain; charset=utf-8"

# When each counter began: a third more series, and nothing that Prometheus reads by default.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the package forgot its type


def always() -> bool:
    """The check that never fails."""
    return True


class AdminServer:
    """Answers /healthz by `healthy` (replace the process if it fails) and /readyz by `ready` (send no traffic)."""

    def __init__(self, listen: str, *, ready: Check = always, healthy: Check = always) -> None:
        self._listen = listen
        self._checks = {"/readyz": ready, "/healthz": healthy}
        self.address = listen

    async def start(self) -> None:
        """Binds the address; raises OSError if it is taken."""
        host, _, port = self._listen.rpartition(":")
        self._server = await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=HEAD_LIMIT)
        self.address = f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Closes the port."""
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request and closes the connection."""
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.split(b"\r\n", 1)[0].decode("latin-1")))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, TimeoutError):
            # Whoever speaks no HTTP here gets no answer.
            pass
        finally:
            writer.close()

    def _answer(self, request_line: str) -> bytes:
        method, _, rest = request_line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in {"GET", "HEAD"}:
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"use GET\n")
        if path == "/metrics":
            return _response(HTTPStatus.OK, generate_latest(REGISTRY), CONTENT_TYPE_LATEST, head=method == "HEAD")
        check = self._checks.get(path)
        if check is None:
            return _response(HTTPStatus.NOT_FOUND, b"there are /metrics, /healthz and /readyz\n")
        if check():
            return _response(HTTPStatus.OK, b"ok\n", head=method == "HEAD")
        return _response(HTTPStatus.SERVICE_UNAVAILABLE, b"not ready\n", head=method == "HEAD")


def _response(status: HTTPStatus, body: bytes, content_type: str = _TEXT, *, head: bool = False) -> bytes:
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if head else body)
