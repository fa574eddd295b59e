"""Sends the answer to a chat completion, whole or as a stream. In both the charge is durable before the end is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from services.common.catalog import Model
from services.common.errors import MeshError
from services.common.logs import get_logger
from services.edge.answer import Event
from services.edge.chat_request import ChatBody
from services.edge.chat_response import DONE, ChunkRenderer, completion_body, error_event, usage_body
from services.edge.event_stream import EventStream
from services.edge.exchange import Exchange
from services.edge.http_errors import error_body
from services.edge.metrics import FIRST_TOKEN
from services.edge.payment import Receipt
from tiermesh.runner.v1.runner_pb2 import GenerateReply

log = get_logger()


@dataclass(slots=True)
class ChatReply:
    """One answer on its way to the client."""

    request: web.Request
    headers: Mapping[str, str]
    body: ChatBody
    model: Model
    exchange: Exchange
    completion_id: str
    # Seconds since the Unix epoch.
    created: int
    # Seconds since the request came.
    elapsed: Callable[[], float]
    # The last reply of each choice that has finished.
    finished: dict[int, GenerateReply] = field(default_factory=dict)
    # Whether anything was produced that a client can see.
    has_output: bool = False

    async def next_steps(self) -> list[Event]:
        """Waits for the next steps and keeps account of them; raises the MeshError that ends the answer."""
        first = not self.exchange.answer.started
        events = await self.exchange.answer.events()
        for event in events:
            if isinstance(event.reply, MeshError):
                raise event.reply
            self.note(event.choice, event.reply)
        if first:
            FIRST_TOKEN.labels(self.model.id).observe(self.elapsed())
        return events

    def note(self, choice: int, step: GenerateReply) -> None:
        """Keeps account of one step."""
        if step.text or step.reasoning or step.tool_calls:
            self.has_output = True
        if step.finish_reason:
            self.finished[choice] = step

    @property
    def complete(self) -> bool:
        """Whether every choice has finished."""
        return len(self.finished) == (self.body.n or 1)

    @property
    def last_replies(self) -> list[GenerateReply]:
        """The last reply of each choice, in the order of the choices."""
        return [self.finished[index] for index in sorted(self.finished)]

    async def settle(self) -> Receipt:
        """Charges the complete answer."""
        usage = usage_body(reply.usage for reply in self.last_replies)
        return await self.exchange.settle(usage, empty=not self.has_output)


async def whole_reply(reply: ChatReply) -> web.Response:
    """Sends the answer as one body."""
    while not reply.complete:
        await reply.next_steps()
    receipt = await reply.settle()
    content = completion_body(
        reply.completion_id, reply.model.id, reply.created, reply.last_replies, logprobs=bool(reply.body.logprobs)
    )
    headers = {
        **reply.headers,
        "x-tiermesh-credits-charged": str(receipt.charged),
        "x-tiermesh-credits-remaining": str(receipt.remaining),
    }
    return web.Response(body=content, content_type="application/json", headers=headers)


async def stream_reply(reply: ChatReply, max_unread_bytes: int) -> web.StreamResponse:
    """Sends the answer as server-sent events; what fails before the first one is raised, as a plain HTTP error."""
    renderer = ChunkRenderer(
        reply.completion_id,
        reply.model.id,
        reply.created,
        usage=reply.body.include_usage,
        logprobs=bool(reply.body.logprobs),
    )
    steps = await reply.next_steps()
    stream = EventStream(reply.request, reply.headers, max_unread_bytes)
    opening = b"".join(renderer.first(choice) for choice in range(reply.body.n or 1))
    await stream.open(opening + _render(renderer, steps))
    try:
        await _send_steps(reply, renderer, stream)
        await _send_end(reply, renderer, stream)
    except MeshError as error:
        log.warning("stream_failed", completion=reply.completion_id, code=error.code.name)
        reply.exchange.fail()
        stream.write(error_event(error_body(error)))
    await stream.close()
    return stream.response


async def _send_steps(reply: ChatReply, renderer: ChunkRenderer, stream: EventStream) -> None:
    def write(choice: int, step: GenerateReply) -> None:
        reply.note(choice, step)
        if chunk := renderer.step(choice, step):
            stream.write(chunk)

    reply.exchange.answer.write_steps(write)
    while not reply.complete:
        if chunks := _render(renderer, await reply.next_steps()):
            stream.write(chunks)


def _render(renderer: ChunkRenderer, steps: list[Event]) -> bytes:
    return b"".join(renderer.step(choice, step) for choice, step in steps if not isinstance(step, MeshError))


async def _send_end(reply: ChatReply, renderer: ChunkRenderer, stream: EventStream) -> None:
    receipt = await reply.settle()
    ends = [renderer.finish(choice, last.finish_reason) for choice, last in sorted(reply.finished.items())]
    if reply.body.include_usage:
        ends.append(renderer.usage(usage_body(last.usage for last in reply.last_replies), receipt))
    stream.write(b"".join(ends) + DONE)
