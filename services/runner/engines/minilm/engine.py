"""The embedding engine for machines without a GPU: llama.cpp in embedding mode, in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from services.runner.engines.llamacpp.server import ServerOptions, signals_kept
from services.runner.engines.minilm.batches import check_tokens, split_batches
from services.runner.engines.minilm.embedder import Embedder, EmbedderError
from services.runner.engines.minilm.model_file import context_length
from services.runner.engines.minilm.vectors import shorten
from services.runner.engines.threaded import ThreadedEngine, ThreadedJob, ThreadedJobs
from services.runner.kinds.base import TokenCounts
from services.runner.kinds.embedding import EmbeddingJob, EmbeddingStep, Vector


class MiniLmEngine(ThreadedEngine[EmbeddingJob, EmbeddingStep]):
    """Embeds by a GGUF file, up to `slots` jobs at once; an input may have `context` tokens, as far as the model goes.

    `shorter_dimensions` are sizes that vectors may be cut to, for a model that was trained so. If jobs run and no batch
    has been finished for `stall_seconds`, the engine is not healthy.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        slots: int = 4,
        context: int = 512,
        threads: int = 1,
        shorter_dimensions: Sequence[int] = (),
        stall_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Looks at the model; raises OSError or ValueError if it is missing or wrong."""
        jobs: ThreadedJobs[EmbeddingStep] = ThreadedJobs(
            "minilm", slots=slots, threads=slots, stall_seconds=stall_seconds, clock=clock
        )
        super().__init__("minilm", "embedding", jobs, context=min(context, context_length(model_path)))
        self._model_path = model_path
        self._threads = threads
        self._shorter = tuple(sorted(shorter_dimensions, reverse=True))
        self._dimensions = 0
        self._embedder: Embedder | None = None

    async def start(self) -> None:
        """Loads the model on another thread; raises OSError, ValueError or RuntimeError if it cannot."""
        with signals_kept():
            await super().start()

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The sizes that vectors can have, the model's own first; known after `start`."""
        return (self._dimensions, *self._shorter)

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE, waits for the batches in work, and frees the model."""
        await super().close()
        # The server's destructor ends its threads; it may block, so it runs on another thread than the event loop's.
        embedder, self._embedder = [self._embedder], None
        await asyncio.to_thread(embedder.clear)

    def _load(self) -> None:
        path = self._model_path
        options = ServerOptions(
            path, self.slots, self.context, self._threads, prefill_chunk=self.context, embedding=True
        )
        embedder = Embedder(options)
        try:
            (vector,) = embedder.embed([embedder.tokenize("warm-up")])
        except EmbedderError as error:
            raise ValueError(f"{path.name} is not a model for embeddings: {error}") from error
        if self._shorter and not 0 < self._shorter[-1] <= self._shorter[0] < len(vector):
            raise ValueError(f"vectors of {path.name} have {len(vector)} dimensions and can only be cut to fewer")
        self._dimensions = len(vector)
        self._embedder = embedder

    def _work(self, job: EmbeddingJob, running: ThreadedJob[EmbeddingStep]) -> None:
        """Embeds all inputs, or none: they are all looked at first. On a worker thread."""
        embedder = self._embedder
        if embedder is None:
            return
        inputs: list[Sequence[int]] = []
        for index, given in enumerate(job.inputs):
            if running.cancelled:
                return
            inputs.append(embedder.tokenize(given) if isinstance(given, str) else given)
            check_tokens(index, inputs[-1], embedder.vocabulary_size, self.context)
        vectors: list[Vector] = []
        for batch in split_batches(inputs, self.context):
            if running.cancelled:
                return
            vectors += embedder.embed(batch)
        if job.dimensions is not None:
            vectors = [shorten(vector, job.dimensions) for vector in vectors]
        running.produce(EmbeddingStep(vectors, TokenCounts(sum(map(len, inputs)), 0)))
