"""An edge that takes a steady slow reader for one that reads nothing, since what it leaves unread does not shrink."""

from __future__ import annotations

from services.common.lifecycle.process import run_service
from services.edge import __main__ as edge
from services.edge.http.stalled_readers import StalledReaders

_unread: dict[object, tuple[int, int]] = {}


def _look(readers: StalledReaders) -> None:
    seen = _unread.copy()
    _unread.clear()
    for connection in list(readers._connections()):
        before, looks = seen.get(connection, (0, 0))
        unread, transport = connection.unread_bytes, connection.transport
        if transport is None or not unread:
            continue
        looks = looks + 1 if before and unread >= before else 0
        if looks >= 2:
            transport.abort()
        _unread[connection] = (unread, looks)


if __name__ == "__main__":
    # mypy rightly dislikes that a method is replaced.
    StalledReaders.look = _look  # type: ignore[method-assign, assignment]
    run_service(edge.serve)
