"""The steps of a job that an engine of any kind does."""

from __future__ import annotations

from typing import Any

from services.common.errors import MeshError
from services.runner.engines.base import AnyEngine
from tests.support.waiting import eventually


class RecordedJob:
    """A job, and what has come of it so far."""

    def __init__(self, engine: AnyEngine, job: Any) -> None:
        self.steps: list[Any] = []
        self.ticket = engine.submit(job, self.steps.append)

    @property
    def ended(self) -> bool:
        """Whether the last step has come, or an error."""
        return bool(self.steps) and (isinstance(self.steps[-1], MeshError) or self.steps[-1].finish_reason is not None)

    async def end(self) -> list[Any]:
        """Returns all steps; raises the error if there is one."""
        await eventually(lambda: self.ended, 30)
        if isinstance(self.steps[-1], MeshError):
            raise self.steps[-1]
        return self.steps
