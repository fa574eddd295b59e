"""Which image encoder a runner takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.catalog import load_catalog
from services.common.settings import DEFAULT_CATALOG, SettingsError
from services.runner.engines.choice import build_engine
from services.runner.engines.llamacpp import LlamaCppEngine
from services.runner.registration import needs_vision
from services.runner.settings import RunnerSettings


@pytest.mark.parametrize(
    ("fields", "vision"),
    [
        ({"tier": "pro"}, False),
        ({"tier": "max"}, True),
        ({"tier": "max", "models": "tiermesh-max-think"}, True),
        ({"tier": "embedding"}, False),
    ],
)
def test_the_catalog_says_whether_models_see(fields: dict[str, str], vision: bool) -> None:
    settings = RunnerSettings(**fields)  # type: ignore[arg-type] # fields of the settings
    assert needs_vision(settings, load_catalog(DEFAULT_CATALOG)) is vision


@pytest.mark.parametrize(
    ("vision", "mmproj"), [(False, ""), (True, ""), (False, "encoder.gguf"), (True, "encoder.gguf")]
)
def test_the_packaged_model_gets_an_encoder_if_one_is_needed(vision: bool, mmproj: str, tmp_path: Path) -> None:
    engine = build_engine(RunnerSettings(mmproj_path=mmproj, cache_dir=str(tmp_path)), vision=vision)
    assert isinstance(engine, LlamaCppEngine)
    assert engine.vision is (vision or bool(mmproj))
    # One is made only if none is named.
    assert any(tmp_path.iterdir()) is (vision and not mmproj)


def test_another_model_needs_its_own_encoder(tmp_path: Path) -> None:
    model = str(tmp_path / "model.gguf")
    with pytest.raises(SettingsError, match="TIERMESH_RUNNER_MMPROJ_PATH"):
        build_engine(RunnerSettings(model_path=model), vision=True)
    engine = build_engine(RunnerSettings(model_path=model, mmproj_path="encoder.gguf"), vision=True)
    assert isinstance(engine, LlamaCppEngine)
    assert engine.vision
