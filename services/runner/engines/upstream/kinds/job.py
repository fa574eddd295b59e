"""One job at the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

import aiohttp

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.runner.engines.upstream.bounded import TooLargeError
from services.runner.engines.upstream.events import UpstreamError
from services.runner.engines.upstream.failures import failed
from services.runner.kinds.base import AnyStep

log = get_logger()
StepT = TypeVar("StepT", bound=AnyStep)


class ServerJob(Generic[StepT]):
    """A running job, which is also its ticket. Closing its connections stops the server."""

    def __init__(
        self, request_id: str, emit: Callable[[StepT | MeshError], None], forget: Callable[[Any], None]
    ) -> None:
        """`forget` is told of this job when it ends."""
        self.progress = 0
        self._request_id = request_id
        # None once nobody waits for the job.
        self._emit: Callable[[StepT | MeshError], None] | None = emit
        self._forget = forget
        self._task: asyncio.Task[None] | None = None

    def start(self, steps: AsyncIterator[StepT]) -> None:
        """Begins to do what makes the steps."""
        self._task = asyncio.get_running_loop().create_task(self._work(steps))

    def progressed(self) -> None:
        """Notes that the server has come further, or is seen to be at work."""
        self.progress += 1

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

    async def _work(self, steps: AsyncIterator[StepT]) -> None:
        try:
            async for step in steps:
                self._pass_on(step)
        except MeshError as error:
            self._pass_on(error)
        except UpstreamError as error:
            self._failed(str(error))
        except (TooLargeError, aiohttp.ClientError, TimeoutError, OSError) as error:
            self._failed(type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this job and no other
            # Only its type is logged: its text may quote the answer.
            log.error(  # noqa: TRY400 - the trace could quote it too
                "upstream_job_broken", request_id=self._request_id, error=type(error).__name__
            )
            self._pass_on(MeshError(Code.INTERNAL, "The runner failed to read the answer. Try again."))
        # A job that has ended already takes no notice.
        self._pass_on(failed())

    def _pass_on(self, step: StepT | MeshError) -> None:
        emit = self._emit
        if emit is None:
            return
        if isinstance(step, MeshError) or step.finish_reason is not None:
            self._emit = None
            self._forget(self)
        emit(step)

    def _failed(self, reason: str) -> None:
        log.warning("upstream_failed", request_id=self._request_id, reason=reason)
        self._pass_on(failed())
