"""An edge that ends by breaking its connections, and takes the end it made for its clients': they pay for it."""

from __future__ import annotations

from services.common.lifecycle.process import run_service
from services.edge import __main__ as edge
from services.edge.http import server
from services.edge.paid import path
from services.edge.paid.cut_off import CutOff


def _do_nothing(cut_off: CutOff) -> None:
    """Tells nobody that the edge stops."""


if __name__ == "__main__":
    # mypy rightly dislikes that a method is replaced.
    CutOff.now = _do_nothing  # type: ignore[method-assign, assignment]
    server._LAST_SECONDS = 0.0
    path._has_left = lambda request: True
    run_service(edge.serve)
