"""How the ExLlamaV2 engine is configured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from services.common.settings import SettingsError

# Tokens in one page of the cache; fixed by the library.
PAGE_TOKENS = 256
# Tokens that the library may evaluate at once for one sequence; drafts count.
LARGEST_STEP = 8

CacheFormat = Literal["fp16", "q8", "q6", "q4"]


@dataclass(frozen=True, slots=True)
class ExLlamaV2Options:
    """What can be chosen."""

    model_path: Path
    # Jobs that are batched together.
    slots: int = 8
    # Tokens of prompt and answer together that one job may have.
    context: int = 4096
    # Tokens that fit into the cache, over all jobs; 0 means enough for every slot to be full.
    cache_tokens: int = 0
    # How keys and values are stored. A quantised cache keeps one layer in fp16 for each GPU besides.
    cache_format: CacheFormat = "fp16"
    # Tokens of a prompt that are read in one iteration: more is faster for long prompts, less interrupts other jobs
    # more briefly and lets a cancellation take effect sooner.
    prefill_chunk: int = 512
    # GiB of weights for each GPU; empty fills one after the other.
    gpu_split: tuple[float, ...] = ()
    # Splits every layer over all GPUs instead of whole layers among them.
    tensor_parallel: bool = False
    # A smaller model with the same vocabulary that guesses ahead.
    draft_path: Path | None = None
    draft_tokens: int = 4
    lora_paths: tuple[Path, ...] = ()
    # Loads the vision tower, so that jobs may have images.
    vision: bool = False
    # If jobs run and no iteration has ended for so long, the engine is not healthy.
    stall_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Raises SettingsError."""
        if self.slots < 1 or self.context < 2:
            raise SettingsError("TIERMESH_RUNNER_SLOTS must be at least 1 and TIERMESH_RUNNER_CONTEXT at least 2")
        if self.prefill_chunk < PAGE_TOKENS or self.prefill_chunk % PAGE_TOKENS:
            raise _wrong("PREFILL_CHUNK", f"a multiple of {PAGE_TOKENS} tokens, not {self.prefill_chunk}")
        if self.cache_tokens < 0 or self.cache_tokens % PAGE_TOKENS:
            raise _wrong("CACHE_TOKENS", f"a multiple of {PAGE_TOKENS} tokens, or 0, not {self.cache_tokens}")
        if not 1 <= self.draft_tokens < LARGEST_STEP:
            raise _wrong("DRAFT_TOKENS", f"1 to {LARGEST_STEP - 1}, not {self.draft_tokens}")
        if any(share <= 0 for share in self.gpu_split):
            raise _wrong("GPU_SPLIT", "GiB for each GPU, all positive")
        if self.draft_path is not None and (self.vision or self.tensor_parallel):
            raise _wrong("DRAFT_PATH", "empty for a model that sees images or is split by tensor parallelism")
        if self.lora_paths and self.tensor_parallel:
            raise _wrong("LORA_PATHS", "empty for a model that is split by tensor parallelism")

    @property
    def drafted(self) -> int:
        """Tokens that are guessed ahead, 0 without a draft model."""
        return self.draft_tokens if self.draft_path is not None else 0

    @property
    def total_tokens(self) -> int:
        """The size of the cache in tokens, whole pages."""
        return self.cache_tokens or self.slots * PAGE_TOKENS * pages_of(self.context + self.drafted)

    @property
    def longest(self) -> int:
        """The most tokens of prompt and answer together: a job can be no larger than the cache."""
        return min(self.context, self.total_tokens - self.drafted)

    @property
    def input_tokens(self) -> int:
        """The most tokens of one forward pass; the library wants it large enough for a full batch of drafts."""
        return max(self.prefill_chunk, PAGE_TOKENS * pages_of(LARGEST_STEP * self.slots))


def pages_of(tokens: int) -> int:
    """Returns the number of pages that so many tokens need."""
    return -(-tokens // PAGE_TOKENS)


def _wrong(name: str, wanted: str) -> SettingsError:
    return SettingsError(f"TIERMESH_RUNNER_EXLLAMAV2_{name} must be {wanted}")
