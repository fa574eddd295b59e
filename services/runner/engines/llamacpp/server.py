"""llama.cpp's server inside this process: how it is configured and loaded."""

from __future__ import annotations

import os
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Memory for prompts whose slot was taken by another job; llama.cpp's default is 8 GiB.
_CACHE_MIB = 64


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What can be chosen; `context` is in tokens of one slot, `prefill_chunk` in tokens."""

    model_path: Path
    slots: int
    context: int
    threads: int
    prefill_chunk: int


def load_server(options: ServerOptions) -> Any:
    """Loads the model and returns an `xllamacpp.Server`; it holds Python's interpreter lock all the time that it takes.

    Call `restore_signals` on the main thread afterwards. Raises RuntimeError if the model cannot be loaded.
    """
    # Spinning OpenMP threads are ruinous on a machine with few cores; the library reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model_path)
    params.n_parallel = options.slots
    # llama.cpp's context is the total of all slots.
    params.n_ctx = options.slots * options.context
    params.fit_params = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    # A job can be cancelled, and others get a token, between two batches.
    params.n_batch = params.n_ubatch = max(options.prefill_chunk, options.slots)
    params.cache_ram_mib = _CACHE_MIB
    params.verbosity = -1
    # An HTTP listener on a free loopback port always starts: nobody learns the key, and nothing is served without.
    params.api_keys = [secrets.token_urlsafe(32)]
    params.ui = False
    params.endpoint_slots = False
    params.cors_origins = ""
    return xllamacpp.Server(params)


def keep_signals() -> dict[signal.Signals, Any]:
    """Returns the signal handlers that llama.cpp is about to replace."""
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def restore_signals(kept: dict[signal.Signals, Any]) -> None:
    """Takes the signals back from llama.cpp; Python allows it only on the main thread."""
    for number, handler in kept.items():
        if handler is not None:
            signal.signal(number, handler)
