"""What is not HTTP gets a plain refusal. aiohttp's own quotes what it could not parse, which may be a key."""

from __future__ import annotations

from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.logs import get_logger
from services.edge.http_errors import error_response, malformed_http

log = get_logger()


class _Protocol(web.RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what the parser refused, and what no handler has caught; the connection is closed after it."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionResetError("the response has begun, so no error can be sent")
        if status < 500:
            log.debug("http_malformed", reason=type(exc).__name__)
            response = malformed_http()
        else:
            log.error("request_failed", exc_info=exc)
            response = error_response(MeshError(Code.INTERNAL, "An internal error happened."))
        response.force_close()
        return response


class _Server(web.Server):
    """Makes connections of that kind."""

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class QuietRunner(web.AppRunner):
    """An AppRunner whose connections answer so. aiohttp has no setting for it."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        return server
