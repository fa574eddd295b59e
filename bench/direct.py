"""Drives an engine without any mesh around it."""

from __future__ import annotations

import asyncio

from services.common.errors import MeshError
from services.runner.kinds.text.engine import TextEngine
from services.runner.kinds.text.job import Job, Step


async def generate(engine: TextEngine, job: Job) -> None:
    """Runs one job to its end."""
    done = asyncio.Event()

    def emit(step: Step | MeshError) -> None:
        if isinstance(step, MeshError) or step.finish_reason is not None:
            done.set()

    engine.submit(job, emit)
    await done.wait()
