"""The service payments, which dies when it comes to a point that a file names: between any two of its writes.

Run it as `python -m tests.integration.x402.dying_payments`. The environment says where the file is.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.common.lifecycle.process import run_service
from services.payments.__main__ import serve
from services.payments.chain.settlement_node import SettlementNode
from services.payments.x402.books import Books

VARIABLE = "X402_FAILPOINT_FILE"
# Where it may die: before and after each write of billing's, and after the transaction was sent.
POINTS = [f"{when} {what}" for what in ("claim", "write_down", "send", "settle") for when in ("before", "after")]


def plant(file: Path) -> None:
    """Has the process die at the point that the file names, if it exists."""
    for name in ("claim", "write_down", "settle", "end"):
        setattr(Books, name, _mortal(getattr(Books, name), name, file))
    # mypy rightly dislikes that a method is replaced.
    SettlementNode.send = _mortal(SettlementNode.send, "send", file)  # type: ignore[method-assign]


def _mortal(method: Callable[..., Any], name: str, file: Path) -> Callable[..., Any]:
    async def run(*arguments: Any, **options: Any) -> Any:
        _die_at(f"before {name}", file)
        result = await method(*arguments, **options)
        _die_at(f"after {name}", file)
        return result

    return run


def _die_at(point: str, file: Path) -> None:
    if file.exists() and file.read_text() == point:
        # Once: its successor goes on.
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    plant(Path(os.environ[VARIABLE]))
    run_service(serve)
