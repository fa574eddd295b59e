"""An edge that sends the end of a stream first and charges for it afterwards: faster, and wrong."""

from __future__ import annotations

from services.common.process import run_service
from services.edge import __main__ as edge
from services.edge.http.event_stream import EventStream
from services.edge.paid import delivery as edge_reply
from services.edge.paid.delivery import Renderer, Reply
from services.edge.paid.hold import Receipt

# The receipt that an honest edge would have got, so that nothing but the order is wrong.
_HOPED_FOR = Receipt(10, 0)
_FREE = Receipt(0, 0)


async def _send_end(reply: Reply, renderer: Renderer, stream: EventStream) -> None:
    stream.write(renderer.end(reply.finished, _HOPED_FOR if reply.has_output else _FREE))
    await reply.settle()


if __name__ == "__main__":
    edge_reply._send_end = _send_end
    run_service(edge.serve)
