"""llama.cpp's server inside this process: how it is configured and loaded."""

from __future__ import annotations

import json
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.runner.engines.llamacpp.media import MEDIA_MARKER

# Memory for prompts whose slot was taken by another job, while there is one account. llama.cpp has 8 GiB by default.
_CACHE_MIB = 64
# Prompts come to llama.cpp as they are, so its own chat template serves only to count the tokens of a prompt with
# images: it writes this variable, and nothing else.
PROMPT_VARIABLE = "tiermesh_prompt"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What can be chosen; `context` is in tokens of one slot, `prefill_chunk` in tokens."""

    model_path: Path
    slots: int
    context: int
    threads: int
    prefill_chunk: int
    # Whether the model embeds texts instead of generating any.
    embedding: bool = False
    # The encoder of images that belongs to the model.
    projector: Path | None = None
    # What llama.cpp's own HTTP listener asks for.
    api_key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)


def load_server(options: ServerOptions) -> Any:
    """Loads the model and returns an `xllamacpp.Server`; it holds Python's interpreter lock all the time that it takes.

    Do so within `signals_kept`. Raises RuntimeError if the model cannot be loaded.
    """
    # Read at the first load.
    os.environ["LLAMA_MEDIA_MARKER"] = MEDIA_MARKER
    # Read for each grammar: its warnings quote answers.
    os.environ["LLGUIDANCE_LOG_LEVEL"] = "0"
    xllamacpp = _library()
    params = xllamacpp.CommonParams()
    params.model.path = str(options.model_path)
    if options.projector is not None:
        params.mmproj.path = str(options.projector)
    params.n_parallel = options.slots
    # llama.cpp's context is the total of all slots.
    params.n_ctx = options.slots * options.context
    params.fit_params = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    # A job can be cancelled, and others get a token, between two batches.
    params.n_batch = params.n_ubatch = max(options.prefill_chunk, options.slots)
    params.embedding = options.embedding
    params.cache_ram_mib = _CACHE_MIB
    params.verbosity = -1
    # An HTTP listener on a free loopback port always starts: nothing is served without the key, which stays here.
    params.api_keys = [options.api_key]
    params.ui = False
    params.chat_template = f"{{{{ {PROMPT_VARIABLE} }}}}"
    params.endpoint_slots = False
    params.cors_origins = ""
    server = xllamacpp.Server(params)
    _wait_until_running(server, options)
    return server


def _wait_until_running(server: Any, options: ServerOptions) -> None:
    """Has the server do one token, so that it is known to work.

    Its thread may not run yet when it is returned. If it were freed now, the thread would begin after it was told to
    end, and freeing it would wait for ever, with Python's interpreter lock.
    """
    if options.embedding:
        server.handle_embeddings({"input": [[1]]})
    else:
        job = {"prompt": "a", "n_predict": 0, "cache_prompt": False, "stream": False}
        server.handle_completions(json.dumps(job).encode(), lambda _: False)


def library_path() -> str:
    """Returns the path of llama.cpp's shared library, which is loaded then."""
    return str(_library().xllamacpp.__file__)


def _library() -> Any:
    # Spinning OpenMP threads are ruinous on a machine with few cores; the library reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xllamacpp

    return xllamacpp


@contextmanager
def signals_kept() -> Iterator[None]:
    """Takes the signals back from llama.cpp, which takes them when it is loaded meanwhile.

    Python allows it only on the main thread; on any other this does nothing.
    """
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in kept.items():
                if handler is not None:
                    signal.signal(number, handler)
