"""What a model file says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.minilm.model_file import context_length


def test_a_model_of_the_operators(tmp_path: Path) -> None:
    assert context_length(find_smollm2()) > 512
    with pytest.raises(FileNotFoundError, match="no model file"):
        context_length(tmp_path / "nowhere.gguf")
