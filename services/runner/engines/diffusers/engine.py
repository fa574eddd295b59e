"""Paints images one after the other on a thread of its own."""

from __future__ import annotations

from pathlib import Path

from services.runner.engines.diffusers.painter import Painter
from services.runner.engines.threaded import ThreadedEngine, ThreadedJob, ThreadedJobs
from services.runner.kinds.base import FinishReason
from services.runner.kinds.image import ImageJob, ImageStep


class DiffusersEngine(ThreadedEngine[ImageJob, ImageStep]):
    """Paints with the pipeline in the folder `model_path`.

    One image is painted at a time; up to `slots` jobs are accepted, and those beyond the first wait for their turn. A
    job that does not say in how many steps has `steps`, or as many as the pipeline takes by itself.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        slots: int = 1,
        threads: int = 1,
        steps: int | None = None,
        stall_seconds: float = 120.0,
    ) -> None:
        super().__init__("diffusers", "image", ThreadedJobs("diffusers", slots=slots, stall_seconds=stall_seconds))
        self._model_path = model_path
        self._torch_threads = threads
        self._steps = steps
        self._painter: Painter | None = None

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE and frees the pipeline."""
        await super().close()
        self._painter = None

    def _load(self) -> None:
        self._painter = Painter(self._model_path, self._torch_threads, self._steps)

    def _work(self, job: ImageJob, running: ThreadedJob[ImageStep]) -> None:
        if self._painter is None:
            return
        image = self._painter.paint(job, stopped=lambda: running.cancelled)
        if image is not None:
            running.produce(ImageStep(image, FinishReason.STOP))
