"""What a runner agrees to serve."""

from __future__ import annotations

import pytest

from services.common.catalog import Model, load_catalog
from services.common.settings import DEFAULT_CATALOG, SettingsError
from services.runner.engines.nanotts import NanoTtsEngine
from services.runner.registration import check_voices


def test_the_packaged_voices_are_those_of_the_packaged_engine() -> None:
    (model,) = load_catalog(DEFAULT_CATALOG).tier("speech")
    check_voices([model], NanoTtsEngine())
    assert {voice.lower() for voice in model.voices} <= set(NanoTtsEngine().voices)
    assert len(model.voices) == len(set(model.voices))
    assert "alloy" in model.voices


def test_a_voice_that_the_engine_lacks_is_refused() -> None:
    model = Model(id="sings", kind="speech", tier="speech", price=1, voices=("alloy", "carmen"))
    with pytest.raises(
        SettingsError, match="sings is sold with the voices carmen, which the engine nanotts does not have"
    ):
        check_voices([model], NanoTtsEngine())
