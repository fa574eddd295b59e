"""An edge that sends the end of a stream first and charges for it afterwards: faster, and wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from services.edge.http.event_stream import EventStream
from services.edge.paid import delivery as edge_delivery
from services.edge.paid.delivery import Delivery, Renderer
from services.edge.paid.hold import Receipt

# The receipt that an honest edge would have got, so that nothing but the order is wrong.
_HOPED_FOR, _FREE = Receipt(10, 0), Receipt(0, 0)


async def _send_end(delivery: Delivery, renderer: Renderer, stream: EventStream) -> None:
    stream.write(renderer.end(delivery.finished, _HOPED_FOR if delivery.has_output else _FREE))
    await delivery.settle()
    await stream.close()


@contextmanager
def planted() -> Iterator[None]:
    """Has the mistake for as long as the block runs."""
    with patch.object(edge_delivery, "_send_end", _send_end):
        yield
