"""A small server that speaks OpenAI's API as a test says: with the quirks of a real one, or with its mistakes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

# An answer, or what makes one of a request. What is neither a response nor bytes is sent as JSON.
Answer = Any
Handler = Callable[[web.Request], Awaitable[Answer]]


def refusal(status: int, body: Any = None) -> web.Response:
    """Returns an answer with another status than 200."""
    return web.json_response(body if body is not None else {"detail": "Not Found"}, status=status)


class RecordedServer:
    """Answers by path; requests without anything in them, by which engines find out what is there, with `empty`.

    What POST requests say is recorded, as JSON or as the fields of a form.
    """

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.requests: list[Any] = []
        self.empty = refusal(422)
        # Set when a client has closed its connection before it got a whole answer.
        self.left = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Its address, without /v1."""
        assert self._runner is not None
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path not in self.answers:
            return refusal(404)
        if request.method == "POST":
            body = await self._body(request)
            if not body:
                return web.Response(body=self.empty.body, status=self.empty.status)
            self.requests.append(body)
        answer = self.answers[request.path]
        try:
            found = await answer(request) if callable(answer) else answer
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        if isinstance(found, web.Response) and not callable(answer):
            # A response can be sent once.
            return web.Response(body=found.body, status=found.status)
        if isinstance(found, web.StreamResponse):
            return found
        return web.Response(body=found) if isinstance(found, bytes) else web.json_response(found)

    async def _body(self, request: web.Request) -> Any:
        if request.content_type != "multipart/form-data":
            return await request.json()
        form = await request.post()
        fields: dict[str, Any] = {}
        for name, value in form.items():
            content = value.file.read() if isinstance(value, web.FileField) else value
            fields.setdefault(name, []).append(content)
        return {name: values if name.endswith("[]") else values[0] for name, values in fields.items()}

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=1 << 28)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Closes every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
