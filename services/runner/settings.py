"""The settings of a runner: `TIERMESH_RUNNER_<FIELD>`."""

from __future__ import annotations

from typing import Literal

from services.common.catalog import Kind
from services.common.settings import Address, EtcdServiceSettings


class RunnerSettings(EtcdServiceSettings, frozen=True, kw_only=True):
    """The settings of one runner process."""

    # Where the runner listens, host:port.
    listen: Address = "127.0.0.1:7104"
    # The callers that the runner accepts under mutual TLS.
    tls_client_names: str = "edge,router"
    # The runner's ID, unique among all runners. If it is empty, the runner takes a random ID.
    id: str = ""
    # The address at which edges and routers reach this runner, host:port. If it is empty, this is the address at which
    # it listens.
    advertise: str = ""
    # The tier of the runner.
    tier: str = "pro"
    # Comma-separated catalog IDs of the models that it serves. If it is empty, the runner serves every model of its
    # tier.
    models: str = ""
    # The engine.
    engine: Literal["llamacpp", "exllamav2", "upstream", "simulated", "minilm", "nanotts", "whisper", "diffusers"] = (
        "llamacpp"
    )
    # The model: a GGUF file for the llama.cpp and minilm engines, a directory for exllamav2, whisper and diffusers. If
    # it is empty, the engine uses its demonstration model; exllamav2 has none.
    model_path: str = ""
    # The image encoder (mmproj, GGUF) that belongs to the model of the llama.cpp engine. If it is empty, models that
    # are sold with vision use an encoder that recognises only plain colours. See docs/vision.md.
    mmproj_path: str = ""
    # The server of the upstream engine, such as `http://127.0.0.1:8080/v1`. See docs/upstream.md.
    upstream_url: str = ""
    # The key that this server asks for; empty if it asks for none.
    upstream_key: str = ""
    # The model of this server. If it is empty, the server must have exactly one model.
    upstream_model: str = ""
    # What the model of this server is for.
    upstream_kind: Kind = "chat"
    # Comma-separated names of the voices of a server that speaks. If it is empty, the server must list them.
    upstream_voices: str = ""
    # How many requests the runner runs at the same time.
    slots: int = 4
    # Prompt and answer together, for each slot. Unit: tokens.
    context: int = 8192
    # CPU threads of the llama.cpp and minilm engines.
    threads: int = 1
    # The longest recording that the whisper engine, or the server of the upstream engine, transcribes. Unit: seconds.
    max_audio_seconds: float = 1800.0
    # The directory for demonstration models, which are made at the first start. If it is empty, this is `tiermesh` in
    # the user's cache directory.
    cache_dir: str = ""
    # Comma-separated sizes to which vectors of the minilm and upstream engines may be cut, if the model was trained for
    # it.
    shorter_dimensions: str = ""
    # The size of the cache over all answers, a multiple of 256; 0 is enough for every slot to be full. Unit: tokens.
    exllamav2_cache_tokens: int = 0
    # The number format of the cache. The quantised formats store more tokens in the same memory.
    exllamav2_cache_format: Literal["fp16", "q8", "q6", "q4"] = "fp16"
    # How much of a prompt is read at once, a multiple of 256. A larger value reads faster, and a smaller one interrupts
    # other answers less. Unit: tokens.
    exllamav2_prefill_chunk: int = 512
    # Comma-separated sizes of the weights on each GPU. If it is empty, one GPU after the other is filled. Unit: GiB.
    exllamav2_gpu_split: str = ""
    # Whether every layer is split over all GPUs.
    exllamav2_tensor_parallel: bool = False
    # The directory of a smaller model with the same vocabulary that drafts tokens. If it is empty, there is no draft
    # model.
    exllamav2_draft_path: str = ""
    # How much the draft model drafts at a time. Unit: tokens.
    exllamav2_draft_tokens: int = 4
    # Comma-separated directories of LoRA adapters. All of them are applied to every answer.
    exllamav2_lora_paths: str = ""
    # Whether the model's vision tower is loaded.
    exllamav2_vision: bool = False
    # How fast the simulated engine reads a prompt; 0 means as fast as possible. Unit: tokens per second.
    simulated_prefill_speed: float = 0.0
    # How fast the simulated engine generates each answer; 0 means as fast as possible. Unit: tokens per second.
    simulated_speed: float = 0.0
    # After how much of each answer the simulated engine fails, for fault tests; 0 means never. Unit: tokens.
    simulated_fail_after: int = 0
    # A YAML or JSON file that says what the simulated engine answers to which message. If it is empty, the engine says
    # random words. See docs/agents.md.
    simulated_script: str = ""
    # How long the registration of a killed runner remains in etcd. Unit: seconds.
    lease_seconds: int = 5
