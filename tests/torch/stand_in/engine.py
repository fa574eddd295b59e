"""The ExLlamaV2 engine over the stand-in."""

from __future__ import annotations

import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import torch

from services.runner.engines.exllamav2 import ExLlamaV2Engine, ExLlamaV2Options
from services.runner.engines.exllamav2.model_directory import ModelDirectory
from services.runner.kinds.text.job import Job, Sampling
from tests.support.engine_contract import job
from tests.torch.stand_in import extension, flash_attention

extension.install()
flash_attention.install()
import exllamav2  # noqa: E402 - it looks for its extension and flash-attn when it is imported

flash_attention.uninstall()

from services.runner.engines.exllamav2.backend import Backend, configure  # noqa: E402 - after what they import has been replaced
from tests.torch.stand_in.checkpoint import END, END_OF_TURN  # noqa: E402 - after what they import has been replaced
from tests.torch.stand_in.model import PagedCache, PagedLlama  # noqa: E402 - after what they import has been replaced


class StandIn:
    """Loads models and keeps them, so that tests can look at them and let them fail."""

    def __init__(self, *, dtype: torch.dtype = torch.float64, tokens_per_second: float = 0.0) -> None:
        """`tokens_per_second` is how many the model reads or produces; 0 means as fast as it can.

        With 64 bits, no two tokens are ever so close that the order of a sum decides between them.
        """
        self.dtype = dtype
        self._seconds = 1 / tokens_per_second if tokens_per_second else 0.0
        self.model: PagedLlama | None = None
        self.backend: Backend | None = None
        # Caches in memory; there may be no room for two.
        self._caches: weakref.WeakSet[PagedCache] = weakref.WeakSet()

    def load(self, options: ExLlamaV2Options, directory: ModelDirectory, draft: ModelDirectory | None) -> Backend:
        self.model = self._model(options, directory)
        if self._seconds:
            self.model.before = lambda token_ids: time.sleep(self._seconds * token_ids.numel())
        self.backend = Backend(
            options,
            self.model,
            exllamav2.ExLlamaV2Tokenizer(self.model.config),
            lambda model: self._new_cache(model, options),
            draft_model=None if draft is None else self._model(options, draft),
        )
        return self.backend

    def _new_cache(self, model: PagedLlama, options: ExLlamaV2Options) -> PagedCache:
        assert len(self._caches) < (1 if options.draft_path is None else 2), "the old cache is still in memory"
        cache = PagedCache(model, options.total_tokens)
        self._caches.add(cache)
        return cache

    def _model(self, options: ExLlamaV2Options, directory: ModelDirectory) -> PagedLlama:
        config: Any = configure(exllamav2.ExLlamaV2Config(str(directory.path)), options, directory)
        return PagedLlama(config, self.dtype)


def stand_in_engine(
    model_path: Path,
    stand_in: StandIn | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    **fields: Any,
) -> ExLlamaV2Engine:
    """Returns an engine that has not been started; `fields` are those of ExLlamaV2Options."""
    options = ExLlamaV2Options(model_path, **{"slots": 4, "context": 1024, "prefill_chunk": 256, **fields})
    return ExLlamaV2Engine(options, load=(stand_in or StandIn()).load, clock=clock)


def endless(engine: ExLlamaV2Engine, question: str = "Tell me a long story.", **fields: Any) -> Job:
    """Returns a job whose answer does not end by itself."""
    unending = Sampling(temperature=0, logit_bias={END: -100, END_OF_TURN: -100})
    return job(engine, question, **{"sampling": unending, **fields})


@asynccontextmanager
async def running(engine: ExLlamaV2Engine) -> AsyncIterator[ExLlamaV2Engine]:
    """Starts an engine and closes it at the end."""
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()
