"""One job at the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import aiohttp
import msgspec

from services.common.errors import MeshError
from services.common.http.kept_connections import post
from services.common.telemetry.logs import get_logger
from services.runner.engines.upstream.bounded import TooLargeError, read_whole
from services.runner.engines.upstream.events import UpstreamError, read_steps
from services.runner.engines.upstream.failures import broken, failed, refused
from services.runner.kinds.base import AnyStep
from services.runner.kinds.conversation.job import ConversationStep

log = get_logger()
StepT = TypeVar("StepT", bound=AnyStep)
_LARGEST_REFUSAL = 1 << 20
Emit = Callable[[ConversationStep | MeshError], None]


class ServerRun(Generic[StepT]):
    """A running job of any kind, which is also its ticket. Closing its connections stops the server."""

    def __init__(
        self, request_id: str, emit: Callable[[StepT | MeshError], None], forget: Callable[[Any], None]
    ) -> None:
        """`forget` is told of this run when it ends."""
        self.progress = 0
        self._request_id = request_id
        # None once nobody waits for the job.
        self._emit: Callable[[StepT | MeshError], None] | None = emit
        self._forget = forget
        self._task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Ends the job without another word, and closes its connections. Harmless after the end."""
        self._emit = None
        if self._task is not None:
            self._task.cancel()
        self._forget(self)

    def end(self, error: MeshError) -> None:
        """Ends the job with an error."""
        emit, self._emit = self._emit, None
        self.cancel()
        if emit is not None:
            emit(error)

    async def closed(self) -> None:
        """Waits until its connections are closed."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)

    def _pass_on(self, step: StepT | MeshError) -> None:
        emit = self._emit
        if emit is None:
            return
        if isinstance(step, MeshError) or step.finish_reason is not None:
            self._emit = None
            self._forget(self)
        emit(step)


class Run(ServerRun[ConversationStep]):
    """A running conversation."""

    def __init__(
        self,
        request_id: str,
        emit: Emit,
        forget: Callable[[Run], None],
        *,
        context: int,
        tells_cached: bool = True,
    ) -> None:
        """`tells_cached` says whether the client may know how much of its prompt the server had read before."""
        super().__init__(request_id, emit, forget)
        self._tells_cached = tells_cached
        self._context = context
        self._begun = False

    def start(self, session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> None:
        """Sends the request."""
        self._begin(self._work(session, url, body))

    async def _work(self, session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> None:
        try:
            async with await post(session, url, json=body) as response:
                try:
                    await self._read(response)
                finally:
                    # What has not been read is not waited for.
                    response.close()
        except MeshError as error:
            self._pass_on(error)
        except UpstreamError as error:
            log.warning("upstream_failed", request_id=self._request_id, reason=str(error))
            # Once an answer has begun, a server that gives up has failed, whatever it says.
            self._pass_on(failed() if self._begun else broken(error.said, self._context))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("upstream_failed", request_id=self._request_id, reason=type(error).__name__)
            self._pass_on(failed())

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        if response.status != 200:
            content = await _refusal(response)
            log.warning("upstream_refused", request_id=self._request_id, status=response.status)
            raise refused(response.status, content, self._context)
        async for step in read_steps(self._pieces(response)):
            self._begun |= not step.empty
            if step.usage is not None and not self._tells_cached:
                step.usage = msgspec.structs.replace(step.usage, cached_tokens=0)
            self._pass_on(step)

    async def _pieces(self, response: aiohttp.ClientResponse) -> Any:
        async for piece in response.content.iter_any():
            # Whatever the server sends is progress: a token, or how much of a prompt it has read.
            self.progress += b"data:" in piece
            yield piece


async def _refusal(response: aiohttp.ClientResponse) -> bytes:
    """Returns what a server says of its refusal, nothing if that is too much; its words may come in several parts."""
    try:
        return await read_whole(response, _LARGEST_REFUSAL)
    except TooLargeError:
        return b""
