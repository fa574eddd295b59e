"""A runner that says it is idle and does nothing with the calls whose steps it would have to send one by one.

It answers the others, by which a run learns what the engine says while nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.common.lifecycle.process import run_service
from services.runner import __main__ as runner
from services.runner.generation import Generation, RunnerStream
from tiermesh.runner.v1.runner_pb2 import GenerateCall

_honest = Generation.on_calls


def _swallow(generation: Generation[Any, Any], calls: Sequence[GenerateCall], stream: RunnerStream) -> None:
    _honest(generation, [call for call in calls if call.whole], stream)


if __name__ == "__main__":
    # mypy rightly dislikes that a method is replaced.
    Generation.on_calls = _swallow  # type: ignore[method-assign, assignment]
    run_service(runner.serve)
