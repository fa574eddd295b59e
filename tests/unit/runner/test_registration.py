"""What a runner agrees to serve."""

from __future__ import annotations

import pytest

from services.common.catalog import Catalog, Model, load_catalog
from services.common.settings import DEFAULT_CATALOG, SettingsError
from services.runner.engines.nanotts import NanoTtsEngine
from services.runner.registration import served_models
from services.runner.settings import RunnerSettings

SETTINGS = RunnerSettings(tier="speech")


def test_the_packaged_voices_are_those_of_the_packaged_engine() -> None:
    (model,) = served_models(SETTINGS, load_catalog(DEFAULT_CATALOG), NanoTtsEngine())
    assert {voice.lower() for voice in model.voices} <= set(NanoTtsEngine().voices)
    assert len(model.voices) == len(set(model.voices))
    assert "alloy" in model.voices


def test_a_voice_that_the_engine_lacks_is_refused() -> None:
    catalog = Catalog([Model(id="sings", kind="speech", tier="speech", price=1, voices=("alloy", "carmen"))])
    with pytest.raises(
        SettingsError, match="sings is sold with the voices carmen, which the engine nanotts does not have"
    ):
        served_models(SETTINGS, catalog, NanoTtsEngine())
