"""A server on loopback that speaks the protocol of Hugging Face, as far as its library asks for models.

Repositories are dictionaries of files. A file is answered by a redirection to a store, as large files are there.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_RESOLVE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class HubServer:
    """Serves `repositories` on a free port until it is left."""

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        self.repositories = {name: dict(files) for name, files in repositories.items()}
        # Repositories whose terms have to be accepted.
        self.gated: set[str] = set()
        # After how many bytes each further answer of the store breaks off; an empty list lets it finish.
        self.breaks: list[int] = []
        # The statuses of further answers of the store in place of the file, and of the one that follows a break.
        self.failures: list[int] = []
        self.fails_after_break = 0
        # What the store sends in place of what was promised.
        self.damaged = False
        # The lines of all requests, with their ranges.
        self.requests: list[str] = []
        server = self

        class Handler(_Handler):
            hub = server

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """What HF_ENDPOINT has to say."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has this name
        """Is silent; `requests` has what tests want to know."""

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        wanted = self.headers.get("Range", "")
        self.hub.requests.append(f"{self.command} {path} {wanted}".rstrip())
        if path.startswith("/api/models/"):
            self._describe(path.removeprefix("/api/models/"))
        elif path.startswith("/store/"):
            self._store(path.removeprefix("/store/"), wanted)
        elif match := _RESOLVE.fullmatch(path):
            self._resolve(match["repository"], match["file"])
        else:
            self._refuse(404, "")

    def _describe(self, repository: str) -> None:
        if repository not in self.hub.repositories:
            self._refuse(401, "RepoNotFound")
            return
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": digest(data)[:40], "lfs": lfs(data)}
            for name, data in self.hub.repositories[repository].items()
        ]
        self._send(200, json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode())

    def _resolve(self, repository: str, file: str) -> None:
        data = self.hub.repositories.get(repository, {}).get(file)
        if repository in self.hub.gated:
            self._refuse(403, "GatedRepo")
        elif data is None:
            self._refuse(404, "EntryNotFound")
        else:
            headers = {
                # Another host, as the store of large files is.
                "Location": f"{self.hub.url.replace('127.0.0.1', 'localhost')}/store/{digest(data)}",
                "X-Repo-Commit": COMMIT,
                "X-Linked-Size": str(len(data)),
                "X-Linked-Etag": f'"{digest(data)}"',
            }
            self._send(302, b"", headers)

    def _store(self, sha256: str, wanted: str) -> None:
        if self.hub.failures:
            self._refuse(self.hub.failures.pop(0), "")
            return
        files = (data for files in self.hub.repositories.values() for data in files.values())
        data = next(data for data in files if digest(data) == sha256)
        begin = int(wanted.removeprefix("bytes=").removesuffix("-") or 0)
        headers = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if wanted else {}
        sent = bytes(len(data) - begin) if self.hub.damaged else data[begin:]
        broken = self.hub.breaks.pop(0) if self.hub.breaks else len(sent)
        if broken < len(sent) and self.hub.fails_after_break:
            self.hub.failures.append(self.hub.fails_after_break)
        self._send(206 if wanted else 200, sent, headers, most=broken)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code} if code else {})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] = {}, most: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:most])
        if most is not None and most < len(body):
            self.close_connection = True


def digest(data: bytes) -> str:
    """Returns the name of a file in the store."""
    return hashlib.sha256(data).hexdigest()


def lfs(data: bytes) -> dict[str, object]:
    """Returns what is said of a large file."""
    return {"sha256": digest(data), "size": len(data), "pointerSize": 134}
