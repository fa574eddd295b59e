"""The requests of one job, and what it means if the server refuses one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from services.common.errors import Code, MeshError
from services.common.http.kept_connections import post
from services.common.telemetry.logs import get_logger
from services.runner.engines.upstream.bounded import TooLargeError, read_whole
from services.runner.engines.upstream.events import UpstreamError
from services.runner.engines.upstream.failures import refused

log = get_logger()
_LARGEST_REFUSAL = 1 << 20
# Makes a form; one that has been sent cannot be sent again.
Form = Callable[[], aiohttp.FormData]
# What a server answers to a request that it does not take as it is.
_NOT_TAKEN = {400, 413, 415, 422}


@dataclass(frozen=True, slots=True)
class Exchange:
    """Sends requests for one job."""

    session: aiohttp.ClientSession
    # Without /v1.
    root: str
    request_id: str
    # Called whenever the server has sent something.
    progressed: Callable[[], None]
    # Returns what a refusal means by the server's own words, if they say it.
    explain: Callable[[bytes], MeshError | None] = lambda _: None
    # The field of a request that is likeliest at fault, and what may help.
    param: str = ""
    advice: str = "Change the request"

    async def ask(self, path: str, kind: Any, most: int, *, json: Any = None, form: Form | None = None) -> Any:
        """Returns the answer in a form, `most` bytes at most; raises UpstreamError if it has another one."""
        async with self.post(path, json=json, form=form) as response:
            content = await read_whole(response, most, self.progressed)
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UpstreamError("unreadable") from error

    @asynccontextmanager
    async def post(
        self, path: str, *, json: Any = None, form: Form | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yields the beginning of an answer; raises MeshError if there is none."""
        url = self.root + path
        async with await post(self.session, url, json=json, form=form) as response:
            try:
                if response.status != 200:
                    raise await self._refusal(response)
                yield response
            finally:
                # What has not been read is not waited for.
                response.close()

    async def _refusal(self, response: aiohttp.ClientResponse) -> MeshError:
        log.warning("upstream_refused", request_id=self.request_id, status=response.status)
        try:
            said = await read_whole(response, _LARGEST_REFUSAL)
        except TooLargeError:
            said = b""
        if (meant := self.explain(said)) is not None:
            return meant
        if response.status not in _NOT_TAKEN:
            return refused(response.status)
        message = f"The model's server does not take this request. {self.advice}, or choose another model."
        return MeshError(Code.INVALID_REQUEST, message, param=self.param)
