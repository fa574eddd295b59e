"""Measures what one body costs an edge: its CPU time, its memory, and the time that another client waits meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psutil

from tests.support.costly_bodies import Costly
from tests.support.deadlines import stretched

_PAUSE = 0.01
_TIMEOUT = 60.0
# What makes the kernel begin a new peak of a process's memory.
_NEW_PEAK = "5"


@dataclass(frozen=True)
class BodyCost:
    """What one body has cost."""

    body: str
    size: int
    status: int
    # The code of the error, empty for an answer.
    code: str
    # CPU time of the edge, in seconds; it includes that of the other client's requests.
    cpu: float
    # By how much its memory grew at most, in bytes.
    memory: int
    # The longest that the other client has waited, in seconds.
    delay: float


class Bystander:
    """Another client, which asks for something small again and again and notes how long it waits."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._url = urlsplit(base_url)
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.waits: list[float] = []
        self.statuses: set[int] = set()
        self._asked = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._asked.wait(stretched(_TIMEOUT))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._url.netloc, timeout=stretched(_TIMEOUT))
        while not self._stopped.wait(_PAUSE):
            began = time.perf_counter()
            connection.request("GET", f"{self._url.path}/models", headers=self._headers)
            response = connection.getresponse()
            response.read()
            self.statuses.add(response.status)
            # The first opens the connection.
            if self._asked.is_set():
                self.waits.append(time.perf_counter() - began)
            self._asked.set()
        connection.close()


@dataclass
class EdgeMeter:
    """Sends bodies to one edge, and reads the kernel's accounts of its process."""

    base_url: str
    api_key: str
    pid: int
    # What is added to each request.
    headers: dict[str, str] = field(default_factory=dict)

    def measure(self, body: Costly) -> BodyCost:
        """Sends one body and returns what it has cost."""
        process = psutil.Process(self.pid)
        with Bystander(self.base_url, self.api_key) as bystander:
            memory = process.memory_info().rss
            Path(f"/proc/{self.pid}/clear_refs").write_text(_NEW_PEAK)
            before = process.cpu_times()
            status, code = self._send(body)
            after = process.cpu_times()
        cpu = after.user + after.system - before.user - before.system
        delay = max(bystander.waits, default=0.0)
        return BodyCost(body.name, len(body.content), status, code, cpu, self._peak() - memory, delay)

    def _peak(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the kernel does not tell the peak of a process's memory")

    def _send(self, body: Costly) -> tuple[int, str]:
        url = urlsplit(self.base_url)
        connection = http.client.HTTPConnection(url.netloc, timeout=stretched(_TIMEOUT))
        headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": body.content_type, **self.headers}
        # The edge may say no before all was sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", url.path + body.path, body.content, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        marker = b'"code":"'
        code = content.partition(marker)[2].partition(b'"')[0].decode() if response.status >= 400 else ""
        return response.status, code
