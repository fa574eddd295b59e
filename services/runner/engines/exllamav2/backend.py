"""A model in the GPUs' memory, and the generators over it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch

from services.common.telemetry.logs import get_logger
from services.runner.engines.exllamav2.errors import ModelError
from services.runner.engines.exllamav2.model_directory import ModelDirectory
from services.runner.engines.exllamav2.options import ExLlamaV2Options

log = get_logger()


class Backend:
    """A loaded model with all that a generator needs; belongs to the engine's thread."""

    def __init__(
        self,
        options: ExLlamaV2Options,
        model: Any,
        tokenizer: Any,
        new_cache: Callable[[Any], Any],
        *,
        draft_model: Any = None,
        vision_tower: Any = None,
    ) -> None:
        """`new_cache` makes an empty cache of `options.total_tokens` for a model."""
        self.options = options
        self.model = model
        self.tokenizer = tokenizer
        self.draft_model = draft_model
        self.vision_tower = vision_tower
        self.loras: list[Any] = []
        self._new_cache = new_cache

    def new_generator(self) -> Any:
        """Returns an ExLlamaV2DynamicGenerator with a cache of its own."""
        from exllamav2.generator import ExLlamaV2DynamicGenerator

        generator = ExLlamaV2DynamicGenerator(
            model=self.model,
            cache=self._new_cache(self.model),
            tokenizer=self.tokenizer,
            draft_model=self.draft_model,
            draft_cache=None if self.draft_model is None else self._new_cache(self.draft_model),
            num_draft_tokens=self.options.draft_tokens,
            max_batch_size=self.options.slots,
            max_chunk_size=self.options.prefill_chunk,
        )
        if self.loras:
            generator.set_loras(self.loras)
        return generator

    def unload(self) -> None:
        """Frees the model."""
        for part in (self.vision_tower, self.draft_model, self.model):
            if part is not None:
                part.unload()
        self.model = self.draft_model = self.vision_tower = None
        self.loras = []
        free_memory()


def close_generator(generator: Any) -> None:
    """Ends the threads of a generator; the library has no way to."""
    for pool in (generator.sampling_pool, generator.filter_pool):
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def free_memory() -> None:
    """Returns the memory of caches and models that nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_backend(options: ExLlamaV2Options, directory: ModelDirectory, draft: ModelDirectory | None) -> Backend:
    """Loads the model, and the one that drafts for it, on the GPUs.

    Raises ModelError if the machine has not what it takes.
    """
    if not torch.cuda.is_available():
        raise ModelError("ExLlamaV2 needs a CUDA GPU and a build of torch that can use it; there is none")
    import exllamav2
    from exllamav2.attn import has_flash_attn_with_paged

    if not has_flash_attn_with_paged:
        raise ModelError("continuous batching needs flash-attn 2.5.7 or newer: install it, or use the runner image")
    config = _config(options, directory)
    if config.no_flash_attn:
        raise ModelError(f"{directory.architecture} needs a newer flash-attn than the one that is installed")
    # These come first, so that the layers of the model are placed in the room that they leave.
    tower = _load_tower(config) if options.vision else None
    draft_model = None if draft is None else _load_draft(options, draft)
    model = exllamav2.ExLlamaV2(config)
    _load(model, options, draft_model)
    backend = Backend(
        options,
        model,
        exllamav2.ExLlamaV2Tokenizer(config),
        lambda of: _new_cache(of, options),
        draft_model=draft_model,
        vision_tower=tower,
    )
    backend.loras = [exllamav2.ExLlamaV2Lora.from_directory(model, str(path)) for path in options.lora_paths]
    return backend


def configure(config: Any, options: ExLlamaV2Options, directory: ModelDirectory) -> Any:
    """Sets an ExLlamaV2Config for the engine's way of working and returns it."""
    config.arch_compat_overrides(quiet=True)
    directory.rope.apply(config)
    # Drafts run ahead of the end of the context; and to less than this the library would lower `max_input_len`.
    config.max_seq_len = max(options.context + options.drafted, options.input_tokens)
    config.max_input_len = options.input_tokens
    config.max_attention_size = options.input_tokens**2
    # The fallback of 0.2.9 to 0.3.2 to torch's attention has no causal mask: prompts would be read wrongly.
    config.no_sdpa = True
    return config


def _config(options: ExLlamaV2Options, directory: ModelDirectory) -> Any:
    from exllamav2 import ExLlamaV2Config

    return configure(ExLlamaV2Config(str(directory.path)), options, directory)


def _load(model: Any, options: ExLlamaV2Options, draft_model: Any) -> None:
    progress = _Progress()
    if options.tensor_parallel:
        model.load_tp(
            gpu_split=list(options.gpu_split) or None,
            callback=progress,
            expect_cache_tokens=options.total_tokens,
            expect_cache_base=_cache_class(options),
        )
    elif options.gpu_split or torch.cuda.device_count() == 1:
        model.load(gpu_split=list(options.gpu_split) or None, callback=progress)
    else:
        # The caches must be there while the layers are placed, so that there is room; later they are made anew.
        caches = [_cache_class(options)(model, max_seq_len=options.total_tokens, lazy=True)]
        if draft_model is not None:
            caches.append(_new_cache(draft_model, options))
        model.load_autosplit(caches[0], callback=progress)


def _load_draft(options: ExLlamaV2Options, draft: ModelDirectory) -> Any:
    from exllamav2 import ExLlamaV2

    model = ExLlamaV2(_config(options, draft))
    model.load(callback=_Progress())
    return model


def _load_tower(config: Any) -> Any:
    from exllamav2 import ExLlamaV2VisionTower

    tower = ExLlamaV2VisionTower(config)
    tower.load()
    return tower


def _cache_class(options: ExLlamaV2Options) -> Any:
    import exllamav2

    suffix = {"fp16": "", "q8": "_Q8", "q6": "_Q6", "q4": "_Q4"}[options.cache_format]
    return getattr(exllamav2, f"ExLlamaV2Cache{suffix}")


def _new_cache(model: Any, options: ExLlamaV2Options) -> Any:
    from exllamav2 import ExLlamaV2Cache_TP

    base = _cache_class(options)
    if options.tensor_parallel:
        return ExLlamaV2Cache_TP(model, base=base, max_seq_len=options.total_tokens)
    return base(model, max_seq_len=options.total_tokens)


class _Progress:
    """Logs how much of a model has been loaded, at every tenth."""

    def __init__(self) -> None:
        self._tenths = 0

    def __call__(self, loaded: int, total: int) -> None:
        tenths = 10 * loaded // max(total, 1)
        if tenths > self._tenths:
            self._tenths = tenths
            log.info("model_loading", percent=10 * tenths)
