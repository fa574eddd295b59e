"""One job at the server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.runner.engines.upstream.bounded import TooLargeError
from services.runner.engines.upstream.events import UpstreamError
from services.runner.engines.upstream.failures import failed
from services.runner.engines.upstream.run import ServerRun, StepT

log = get_logger()


class ServerJob(ServerRun[StepT]):
    """A running job of a kind that has no conversations."""

    def start(self, steps: AsyncIterator[StepT]) -> None:
        """Begins to do what makes the steps."""
        self._begin(self._work(steps))

    def progressed(self) -> None:
        """Notes that the server has come further, or is seen to be at work."""
        self.progress += 1

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

    def _failed(self, reason: str) -> None:
        log.warning("upstream_failed", request_id=self._request_id, reason=reason)
        self._pass_on(failed())
