"""What a runner can be told by TIERMESH_RUNNER_*."""

from __future__ import annotations

from typing import Literal

from services.common.settings import Address, EtcdServiceSettings


class RunnerSettings(EtcdServiceSettings, frozen=True, kw_only=True):
    """Settings of a runner."""

    listen: Address = "127.0.0.1:7104"
    # Unique among all runners; empty takes a random one.
    id: str = ""
    # Where edges and routers reach this runner, host:port; empty means where it listens.
    advertise: str = ""
    tier: str = "pro"
    # Comma-separated catalog ids that it serves; empty means every model of its tier.
    models: str = ""
    engine: Literal["llamacpp", "simulated"] = "llamacpp"
    # The GGUF file of the llama.cpp engine; empty takes the small model that ships with the installation.
    model_path: str = ""
    # Answers that are generated at once.
    slots: int = 4
    # Tokens of prompt and answer together, for each slot.
    context: int = 4096
    # CPU threads of the llama.cpp engine.
    threads: int = 1
    # Speeds of the simulated engine, in tokens a second for each answer; 0 means as fast as possible.
    simulated_prefill_speed: float = 0.0
    simulated_speed: float = 0.0
    # Breaks each answer of the simulated engine off after this many tokens; 0 never does. For fault tests.
    simulated_fail_after: int = 0
    # How long the registration outlives a runner that was killed, in seconds.
    lease_seconds: int = 5
