"""What the tests with torch share. They run in an environment of their own: `make test-torch`."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

HAS_TORCH = importlib.util.find_spec("torch") is not None
# Names a model directory on a machine with a GPU, for test_gpu.py.
GPU_MODEL = os.environ.get("TIERMESH_TEST_EXLLAMAV2_MODEL", "")

if not HAS_TORCH:
    collect_ignore_glob = ["test_*.py"]
elif GPU_MODEL:
    collect_ignore_glob = ["test_[!g]*.py"]
else:
    collect_ignore_glob = ["test_gpu.py"]
    import torch

    # Before anything imports the library, which would begin to compile its extension.
    import tests.torch.stand_in.engine  # noqa: F401 - for what importing it does

    # Two busy cores are slower with more threads.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny Llama with random weights."""
    from tests.torch.stand_in.checkpoint import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("models") / "tiny")
