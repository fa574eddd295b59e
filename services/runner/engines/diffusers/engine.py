"""Paints images one after the other on a thread of its own."""

from __future__ import annotations

from pathlib import Path

from services.common.telemetry.logs import get_logger
from services.runner.engines.diffusers.painter import Painter
from services.runner.engines.threaded import ThreadedEngine, ThreadedJob, ThreadedJobs
from services.runner.kinds.base import FinishReason
from services.runner.kinds.image import ImageJob, ImageStep

log = get_logger()


class DiffusersEngine(ThreadedEngine[ImageJob, ImageStep]):
    """Paints with the pipeline in `model_path`; without one, with a tiny one of random weights, which paints noise.

    One image is painted at a time; up to `slots` jobs are accepted, and those beyond the first wait for their turn.
    """

    def __init__(
        self, model_path: Path | None, *, slots: int = 1, threads: int = 1, stall_seconds: float = 120.0
    ) -> None:
        super().__init__("diffusers", "image", ThreadedJobs("diffusers", slots=slots, stall_seconds=stall_seconds))
        self._model_path = model_path
        self._torch_threads = threads
        self._painter: Painter | None = None

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE and frees the pipeline."""
        await super().close()
        self._painter = None

    def _load(self) -> None:
        self._painter = Painter(self._model_path, self._torch_threads)
        if self._model_path is None:
            log.warning("demonstration_model", engine=self.name, detail="random weights: every image is noise")

    def _work(self, job: ImageJob, running: ThreadedJob[ImageStep]) -> None:
        if self._painter is None:
            return
        image = self._painter.paint(job, stopped=lambda: running.cancelled)
        if image is not None:
            running.produce(ImageStep(image, FinishReason.STOP))
