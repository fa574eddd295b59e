"""A client of HTTP whose requests survive that a server closes a connection that was kept for the next one.

A server may close an idle connection at any time. A request that is on its way then is lost without any answer, and
RFC 9112 (section 9.3.1) lets a client repeat it on its own only if it is safe twice. aiohttp therefore repeats no POST.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import aiohttp


class _Connection:
    """What is known of the connection that a request went out on."""

    def __init__(self) -> None:
        self.was_kept = False


def new_session(*, timeout: aiohttp.ClientTimeout, **options: Any) -> aiohttp.ClientSession:
    """Returns a session of as many connections as are used at once, without cookies or settings of the environment."""
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_kept)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=timeout,
        trace_configs=[tracing],
        **options,
    )


async def post(
    session: aiohttp.ClientSession,
    url: str,
    *,
    form: Callable[[], aiohttp.FormData] | None = None,
    **options: Any,
) -> aiohttp.ClientResponse:
    """Sends a POST request and returns the beginning of the answer, which the caller closes.

    The request goes out again as often as a kept connection ends before it has brought anything: so it must be one that
    the server may see twice. A new connection that ends like this is a failure of the server, which is asked no second
    time. `session` is one of `new_session`, and `form` makes the form to send. Raises what aiohttp raises.
    """
    while True:
        connection = _Connection()
        data: dict[str, Any] = {"data": form()} if form is not None else {}
        try:
            return await session.post(url, trace_request_ctx=connection, allow_redirects=False, **data, **options)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not connection.was_kept:
                raise


async def _note_kept(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: aiohttp.TraceConnectionReuseconnParams
) -> None:
    if isinstance(context.trace_request_ctx, _Connection):
        context.trace_request_ctx.was_kept = True
