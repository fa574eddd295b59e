"""Conversations of a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import aiohttp
import msgspec

from services.common.telemetry.logs import get_logger
from services.runner.engines.upstream.body import request_body
from services.runner.engines.upstream.events import UpstreamError, read_steps
from services.runner.engines.upstream.failures import broken, too_long
from services.runner.engines.upstream.kinds.base import ServerEngine, Upstream
from services.runner.engines.upstream.kinds.exchange import Exchange
from services.runner.engines.upstream.prompt_cache import PromptCache
from services.runner.engines.upstream.server import UpstreamServer
from services.runner.kinds.conversation.job import ConversationJob, ConversationStep
from services.runner.refusals import engine_closed

log = get_logger()
_PATH = "/v1/chat/completions"


class ChatServerEngine(ServerEngine[ConversationJob, ConversationStep]):
    """Answers conversations by a server; each may have `context` tokens."""

    silence_tells = True

    def __init__(self, upstream: Upstream, *, slots: int, context: int) -> None:
        super().__init__("chat", upstream, slots=slots, context=context)
        self._cache: PromptCache | None = None

    @property
    def takes_conversations(self) -> bool:
        """It takes them as they are."""
        return True

    async def _learn(self, session: aiohttp.ClientSession, server: UpstreamServer) -> None:
        del session
        self._check_context(server)
        self._cache = PromptCache(server.quirks)

    def _exchange(
        self, session: aiohttp.ClientSession, server: UpstreamServer, request_id: str, progressed: Callable[[], None]
    ) -> Exchange:
        explain = partial(too_long, context=self.context)
        return Exchange(session, server.root, request_id, progressed, explain, advice="Send fewer fields")

    def _steps(
        self, job: ConversationJob, server: UpstreamServer, exchange: Exchange
    ) -> AsyncIterator[ConversationStep]:
        if self._cache is None:
            raise engine_closed()
        body = {**request_body(job, server), **self._cache.fields(job.cache_scope)}
        return self._answer(body, exchange, tells_cached=not self._cache.tells_of_others)

    async def _answer(
        self, body: dict[str, Any], exchange: Exchange, *, tells_cached: bool
    ) -> AsyncIterator[ConversationStep]:
        """Asks for one answer; `tells_cached` says whether its client may know what the server had read before."""
        begun = False
        try:
            async with exchange.post(_PATH, json=body) as response:
                async for step in read_steps(_pieces(response, exchange.progressed)):
                    begun |= not step.empty
                    if step.usage is not None and not tells_cached:
                        step.usage = msgspec.structs.replace(step.usage, cached_tokens=0)
                    yield step
        except UpstreamError as error:
            if begun:
                # Once an answer has begun, a server that gives up has failed, whatever it says.
                raise
            log.warning("upstream_failed", request_id=exchange.request_id, reason=str(error))
            raise broken(error.said, self.context) from error


async def _pieces(response: aiohttp.ClientResponse, progressed: Callable[[], None]) -> AsyncIterator[bytes]:
    async for piece in response.content.iter_any():
        # A part of an answer is progress, and so is how much of a prompt has been read; a comment is none.
        if b"data:" in piece:
            progressed()
        yield piece
