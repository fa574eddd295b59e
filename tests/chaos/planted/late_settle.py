"""An edge that sends the end of a stream first and charges for it afterwards: faster, and wrong."""

from __future__ import annotations

from services.common.lifecycle.process import run_service
from services.edge import __main__ as edge
from services.edge.http.event_stream import EventStream
from services.edge.paid import delivery as edge_delivery
from services.edge.paid.delivery import Delivery, Renderer
from services.edge.paid.hold import Receipt

# The receipt that an honest edge would have got, so that nothing but the order is wrong.
_HOPED_FOR = Receipt(10, 0)
_FREE = Receipt(0, 0)


async def _send_end(delivery: Delivery, renderer: Renderer, stream: EventStream) -> None:
    stream.write(renderer.end(delivery.finished, _HOPED_FOR if delivery.has_output else _FREE))
    await delivery.settle()
    await stream.close()


if __name__ == "__main__":
    edge_delivery._send_end = _send_end
    run_service(edge.serve)
