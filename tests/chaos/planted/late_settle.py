"""An edge that sends the end of a stream first and charges for it afterwards: faster, and wrong."""

from __future__ import annotations

from services.common.process import run_service
from services.edge import __main__ as edge
from services.edge import chat_reply
from services.edge.chat_reply import ChatReply
from services.edge.chat_response import DONE, ChunkRenderer, usage_body
from services.edge.event_stream import EventStream
from services.edge.payment import Receipt

# The receipt that an honest edge would have got, so that nothing but the order is wrong.
_HOPED_FOR = Receipt(10, 0)
_FREE = Receipt(0, 0)


async def _send_end(reply: ChatReply, renderer: ChunkRenderer, stream: EventStream) -> None:
    ends = [renderer.finish(choice, last.finish_reason) for choice, last in sorted(reply.finished.items())]
    if reply.body.include_usage:
        usage = usage_body(last.usage for last in reply.last_replies)
        ends.append(renderer.usage(usage, _HOPED_FOR if reply.has_output else _FREE))
    stream.write(b"".join(ends) + DONE)
    await reply.settle()


if __name__ == "__main__":
    chat_reply._send_end = _send_end
    run_service(edge.serve)
