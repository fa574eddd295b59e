"""Receives the steps of one engine job."""

from __future__ import annotations

import asyncio
from typing import Any

from services.common.errors import MeshError
from services.runner.engines.base import Engine, Ticket
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.job import Step, TokenLogprob
from tests.support.deadlines import within


class Recording:
    """What a job has said so far, and how it ended."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.error: MeshError | None = None
        self.ends = 0
        # Steps that came although the job had ended or been cancelled.
        self.late = 0
        self.closed = False
        self._changed = asyncio.Event()
        self.ticket: Ticket | None = None

    def __call__(self, step: Step | MeshError) -> None:
        self.late += self.closed
        if isinstance(step, MeshError):
            self.error = step
        else:
            self.steps.append(step)
        if isinstance(step, MeshError) or step.finish_reason is not None:
            self.ends += 1
            self.closed = True
        self._changed.set()

    def cancel(self) -> None:
        assert self.ticket is not None
        self.ticket.cancel()
        self.closed = True
        self._changed.set()

    async def tokens(self, count: int, timeout: float = 60.0) -> None:
        """Waits until so many tokens have come."""
        async with within(timeout):
            while len(self.token_ids) < count and not self.closed:
                self._changed.clear()
                await self._changed.wait()

    async def pieces(self, count: int, timeout: float = 60.0) -> None:
        """Waits until so many steps with text or tokens have come."""
        async with within(timeout):
            while sum(bool(step.text or step.token_ids) for step in self.steps) < count and not self.closed:
                self._changed.clear()
                await self._changed.wait()

    async def end(self, timeout: float = 60.0) -> Recording:
        """Waits for the end; raises the error if it ended with one."""
        async with within(timeout):
            while not self.closed:
                self._changed.clear()
                await self._changed.wait()
        if self.error is not None:
            raise self.error
        return self

    @property
    def text(self) -> str:
        return "".join(step.text for step in self.steps)

    @property
    def token_ids(self) -> list[int]:
        return [token_id for step in self.steps for token_id in step.token_ids]

    @property
    def said(self) -> tuple[str, list[int]]:
        """What tells two answers apart: the text, and the tokens where there are any."""
        return self.text, self.token_ids

    @property
    def logprobs(self) -> list[TokenLogprob]:
        return [logprob for step in self.steps for logprob in step.logprobs]

    @property
    def finish(self) -> FinishReason | None:
        return self.steps[-1].finish_reason

    @property
    def usage(self) -> TokenCounts:
        usage = self.steps[-1].usage
        assert usage is not None
        return usage


def submit(engine: Engine[Any, Step], job: Any) -> Recording:
    """Starts a job."""
    recording = Recording()
    recording.ticket = engine.submit(job, recording)
    return recording


async def generate(engine: Engine[Any, Step], job: Any) -> Recording:
    """Runs a job to its end."""
    return await submit(engine, job).end()
