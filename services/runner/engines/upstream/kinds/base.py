"""What the engines for all kinds of work at a server have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Protocol, TypeVar

import aiohttp

from services.common.catalog import Kind
from services.common.errors import MeshError
from services.common.http.kept_connections import new_session
from services.common.settings import SettingsError
from services.runner.engines.base import NotReadyError
from services.runner.engines.upstream.kinds.exchange import Exchange
from services.runner.engines.upstream.kinds.job import ServerJob
from services.runner.engines.upstream.listed import WORDS
from services.runner.engines.upstream.server import LOADING, UpstreamServer, find_server, headers, is_there
from services.runner.kinds.base import AnyStep
from services.runner.refusals import engine_closed, slots_taken

_CONNECT_SECONDS, _PROBE_SECONDS = 10.0, 30.0
# Seconds between two looks at whether the server is there, and how many may fail in a row.
_LOOK_SECONDS, _MOST_FAILURES = 2.0, 3
# What a server answers where it has nothing: some answer anything at all with status 200.
_NOTHING_THERE = {200, 404, 405, 501}


class AnyJob(Protocol):
    """What every kind of job has."""

    @property
    def request_id(self) -> str:
        """For logs only."""


JobT = TypeVar("JobT", bound=AnyJob)
StepT = TypeVar("StepT", bound=AnyStep)


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """Where a server is, the key that it asks for, and which of its models is meant."""

    url: str
    key: str = field(default="", repr=False)
    model: str = ""


class ServerEngine(ABC, Generic[JobT, StepT]):
    """Runs up to `slots` jobs at once on a server; `context` is in tokens, 0 where the kind of work has no such bound.

    While the server works on a job and says nothing of it, it is taken to come further as long as it answers at all,
    unless its `silence_tells` that it does not.
    """

    silence_tells: ClassVar[bool] = False

    def __init__(self, kind: Kind, upstream: Upstream, *, slots: int, context: int = 0) -> None:
        self.name = "upstream"
        self.kind: Kind = kind
        self.slots = slots
        self.context = context
        self._upstream = upstream
        self._server: UpstreamServer | None = None
        self._session: aiohttp.ClientSession | None = None
        self._running: dict[ServerJob[StepT], None] = {}
        self._failures = 0
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Asks the server what it has; raises NotReadyError or, if it cannot serve what is promised, SettingsError."""
        session = _new_session(self._upstream.key)
        try:
            server = await find_server(session, self._upstream.url, self._upstream.model, self.kind)
            await self._learn(session, server)
        except BaseException:
            await session.close()
            raise
        # More at once would only wait there, where the router does not see it.
        self.slots = min(self.slots, server.slots or self.slots)
        self._session, self._server = session, server
        self._looking = asyncio.create_task(self._look(session, server))

    def submit(self, job: JobT, emit: Callable[[StepT | MeshError], None]) -> ServerJob[StepT]:
        """Accepts a job; raises MeshError OVERLOADED, or INVALID_REQUEST for what the server would ignore."""
        if self._server is None or self._session is None:
            raise engine_closed()
        if len(self._running) >= self.slots:
            raise slots_taken(self.slots)
        self._check(job, self._server)
        running: ServerJob[StepT] = ServerJob(job.request_id, emit, self._forget)
        exchange = self._exchange(self._session, self._server, job.request_id, running.progressed)
        steps = self._steps(job, self._server, exchange)
        self._running[running] = None
        running.start(steps)
        return running

    @property
    def active(self) -> int:
        """Jobs that occupy a slot now."""
        return len(self._running)

    @property
    def healthy(self) -> bool:
        """Whether the server has answered lately, or works on what it says nothing of: some do nothing else then."""
        if self._server is None:
            return False
        return self._failures < _MOST_FAILURES or (bool(self._running) and not self.silence_tells)

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE, and closes all connections."""
        self._server = None
        jobs = list(self._running)
        for job in jobs:
            job.end(engine_closed())
        await asyncio.gather(*(job.closed() for job in jobs))
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        if self._session is not None:
            await self._session.close()

    @abstractmethod
    async def _learn(self, session: aiohttp.ClientSession, server: UpstreamServer) -> None:
        """Finds out what else has to be known; raises SettingsError if the server cannot serve what is promised."""

    def _check_context(self, server: UpstreamServer) -> None:
        """Raises SettingsError if the model attends to fewer tokens than are promised, as far as the server tells."""
        if 0 < server.context < self.context:
            raise SettingsError(
                f"{server.model} at {server.base_url} attends to {server.context} tokens: lower "
                f"TIERMESH_RUNNER_CONTEXT from {self.context}, and the context of its models in the catalog"
            )

    def _check(self, job: JobT, server: UpstreamServer) -> None:
        """Raises MeshError INVALID_REQUEST for what the server would ignore."""

    def _exchange(
        self, session: aiohttp.ClientSession, server: UpstreamServer, request_id: str, progressed: Callable[[], None]
    ) -> Exchange:
        """Returns what sends the requests of a job."""
        return Exchange(session, server.root, request_id, progressed)

    @abstractmethod
    def _steps(self, job: JobT, server: UpstreamServer, exchange: Exchange) -> AsyncIterator[StepT]:
        """Does one job; raises MeshError, UpstreamError, TooLargeError and what aiohttp raises.

        What it raises before the first step is asked for, MeshError INVALID_REQUEST, refuses the job.
        """

    async def _look(self, session: aiohttp.ClientSession, server: UpstreamServer) -> None:
        """Looks after the server for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if await is_there(session, server):
                self.seen()
            else:
                self._failures += 1

    def seen(self) -> None:
        """Notes that the server has answered."""
        self._failures = 0
        if not self.silence_tells:
            for job in self._running:
                job.progressed()

    def _forget(self, job: ServerJob[StepT]) -> None:
        self._running.pop(job, None)


def _new_session(key: str) -> aiohttp.ClientSession:
    return new_session(
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        # What is compressed could be of any size.
        headers=headers(key) | {"Accept-Encoding": "identity"},
        auto_decompress=False,
    )


async def check_there(session: aiohttp.ClientSession, server: UpstreamServer, path: str) -> None:
    """Sends a request without anything in it, which is no work; raises SettingsError if nobody would take one.

    Raises NotReadyError if the server does not answer, or is not ready.
    """
    url = server.root + path
    try:
        timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
        async with session.post(url, json={}, timeout=timeout, allow_redirects=False) as response:
            status = response.status
            response.close()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NotReadyError(f"no server answers at {url} ({type(error).__name__}); start it again") from error
    if status in LOADING:
        raise NotReadyError(f"the server at {url} is not ready (status {status}); wait until it is")
    if status in {401, 403}:
        raise SettingsError(f"TIERMESH_RUNNER_UPSTREAM_KEY: the server refuses it at {url} (status {status})")
    if status in _NOTHING_THERE:
        raise nothing_there(server, f"status {status} at {path}")


def nothing_there(server: UpstreamServer, reason: str) -> SettingsError:
    """Returns the refusal of a server that does not do this kind of work."""
    return SettingsError(
        f"{server.quirks.name} at {server.base_url} has no {WORDS[server.kind]} ({reason}); choose another kind, or "
        "start the server with what it needs for this one"
    )
