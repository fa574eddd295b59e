"""An engine that hands each job to a server with OpenAI's API, and passes on what it says."""

from __future__ import annotations

import asyncio

import aiohttp

from services.common.catalog import Kind
from services.common.http.kept_connections import new_session
from services.common.settings import SettingsError
from services.runner.engines.upstream.body import request_body
from services.runner.engines.upstream.prompt_cache import PromptCache
from services.runner.engines.upstream.run import Emit, Run
from services.runner.engines.upstream.server import UpstreamServer, find_server, headers, is_there
from services.runner.kinds.conversation.job import ConversationJob
from services.runner.refusals import engine_closed, slots_taken

_CONNECT_SECONDS = 10.0
# Seconds between two looks at whether the server is there, and how many may fail in a row.
_LOOK_SECONDS, _MOST_FAILURES = 2.0, 3


class UpstreamEngine:
    """Runs up to `slots` jobs at once, each with `context` tokens, on the server at `url`.

    `model` chooses one of several that the server has. `key` goes to the server with each request, and nowhere else.
    """

    def __init__(self, url: str, *, key: str = "", model: str = "", slots: int = 4, context: int = 8192) -> None:
        self.name = "upstream"
        self.kind: Kind = "chat"
        self.slots = slots
        self.context = context
        self._url = url
        self._key = key
        self._model = model
        self._cache: PromptCache | None = None
        self._server: UpstreamServer | None = None
        self._session: aiohttp.ClientSession | None = None
        self._running: dict[Run, None] = {}
        self._failures = 0
        self._looking: asyncio.Task[None] | None = None

    @property
    def takes_conversations(self) -> bool:
        """It takes them as they are."""
        return True

    async def start(self) -> None:
        """Asks the server what it has; raises NotReadyError or, if it cannot serve what is promised, SettingsError."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        session = self._session = new_session(timeout=timeout, headers=headers(self._key))
        try:
            server = await find_server(session, self._url, self._model)
        except SettingsError:
            await session.close()
            raise
        if 0 < server.context < self.context:
            raise SettingsError(
                f"{server.model} at {server.base_url} attends to {server.context} tokens: lower "
                f"TIERMESH_RUNNER_CONTEXT from {self.context}, and the context of its models in the catalog"
            )
        # More at once would only wait there, where the router does not see it.
        self.slots = min(self.slots, server.slots or self.slots)
        self._cache = PromptCache(server.quirks)
        self._server = server
        self._looking = asyncio.create_task(self._look(session, server))

    def submit(self, job: ConversationJob, emit: Emit) -> Run:
        """Accepts a job; raises MeshError OVERLOADED, or INVALID_REQUEST for what the server would ignore."""
        if self._server is None or self._session is None or self._cache is None:
            raise engine_closed()
        if len(self._running) >= self.slots:
            raise slots_taken(self.slots)
        body = {**request_body(job, self._server), **self._cache.fields(job.cache_scope)}
        told = not self._cache.tells_of_others
        run = Run(job.request_id, emit, self._forget, context=self.context, tells_cached=told)
        self._running[run] = None
        run.start(self._session, f"{self._server.base_url}/chat/completions", body)
        return run

    @property
    def active(self) -> int:
        """Jobs that occupy a slot now."""
        return len(self._running)

    @property
    def healthy(self) -> bool:
        """Whether the server has answered lately."""
        return self._server is not None and self._failures < _MOST_FAILURES

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE, and closes all connections."""
        self._server = None
        runs = list(self._running)
        for run in runs:
            run.end(engine_closed())
        await asyncio.gather(*(run.closed() for run in runs))
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        if self._session is not None:
            await self._session.close()

    async def _look(self, session: aiohttp.ClientSession, server: UpstreamServer) -> None:
        """Looks after the server for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._failures = 0 if await is_there(session, server) else self._failures + 1

    def _forget(self, run: Run) -> None:
        self._running.pop(run, None)
