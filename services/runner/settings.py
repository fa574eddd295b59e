"""What a runner can be told by TIERMESH_RUNNER_*."""

from __future__ import annotations

from typing import Literal

from services.common.settings import Address, EtcdServiceSettings


class RunnerSettings(EtcdServiceSettings, frozen=True, kw_only=True):
    """Settings of a runner."""

    listen: Address = "127.0.0.1:7104"
    tls_client_names: str = "edge,router"
    # Unique among all runners; empty takes a random one.
    id: str = ""
    # Where edges and routers reach this runner, host:port; empty means where it listens.
    advertise: str = ""
    tier: str = "pro"
    # Comma-separated catalog ids that it serves; empty means every model of its tier.
    models: str = ""
    engine: Literal["llamacpp", "exllamav2", "simulated", "minilm", "nanotts", "whisper", "diffusers"] = "llamacpp"
    # A GGUF file for the llama.cpp and minilm engines, a folder for the others. Empty takes the small model that comes
    # as a package, and for the diffusers engine one of random weights; the exllamav2 engine needs one.
    model_path: str = ""
    # The image encoder (mmproj, GGUF) that belongs to the model of the llama.cpp engine. Empty, with the packaged model
    # and models that are sold with vision, takes one that recognises plain colours only: see docs/vision.md.
    mmproj_path: str = ""
    # Answers that are generated at once.
    slots: int = 4
    # Tokens of prompt and answer together, for each slot.
    context: int = 4096
    # CPU threads of the llama.cpp and minilm engines.
    threads: int = 1
    # The longest recording that the whisper engine writes down, in seconds.
    max_audio_seconds: float = 1800.0
    # Where models are kept that are made at the first start; empty means tiermesh in the user's cache directory.
    cache_dir: str = ""
    # Comma-separated sizes that the vectors of the minilm engine's model may be cut to, if it was trained so.
    shorter_dimensions: str = ""
    # The exllamav2 engine; its model_path is a directory. Tokens that fit into the cache, over all answers: a multiple
    # of 256, or 0 for enough that every slot can be full.
    exllamav2_cache_tokens: int = 0
    exllamav2_cache_format: Literal["fp16", "q8", "q6", "q4"] = "fp16"
    # Tokens of a prompt that are read at once, a multiple of 256: more is faster, less interrupts other answers less.
    exllamav2_prefill_chunk: int = 512
    # Comma-separated GiB of weights for each GPU; empty fills one GPU after the other.
    exllamav2_gpu_split: str = ""
    # Splits every layer over all GPUs.
    exllamav2_tensor_parallel: bool = False
    # The directory of a smaller model with the same vocabulary that guesses ahead; empty for none.
    exllamav2_draft_path: str = ""
    exllamav2_draft_tokens: int = 4
    # Comma-separated directories of LoRA adapters, all applied to every answer.
    exllamav2_lora_paths: str = ""
    # Loads the model's vision tower.
    exllamav2_vision: bool = False
    # Speeds of the simulated engine, in tokens a second for each answer; 0 means as fast as possible.
    simulated_prefill_speed: float = 0.0
    simulated_speed: float = 0.0
    # Breaks each answer of the simulated engine off after this many tokens; 0 never does. For fault tests.
    simulated_fail_after: int = 0
    # How long the registration outlives a runner that was killed, in seconds.
    lease_seconds: int = 5
