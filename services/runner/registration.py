"""What this runner says about itself in etcd, and the engine that its settings ask for."""

from __future__ import annotations

import msgspec

from services.common.catalog import Catalog, Model
from services.common.registry import RunnerRecord
from services.common.settings import SettingsError, split_list
from services.common.version import VERSION
from services.runner.engines.base import AnyEngine
from services.runner.kinds.speech import SpeechEngine
from services.runner.kinds.text.engine import TextEngine
from services.runner.metrics import KnowsFacts
from services.runner.settings import RunnerSettings


def served_models(settings: RunnerSettings, catalog: Catalog, engine: AnyEngine) -> list[Model]:
    """Returns the models this runner serves; raises SettingsError if the catalog or the engine cannot bear that out."""
    of_tier = {model.id: model for model in catalog.tier(settings.tier) if model.kind == engine.kind}
    names = split_list(settings.models) or list(of_tier)
    if unknown := [name for name in names if name not in of_tier]:
        raise SettingsError(
            f"TIERMESH_RUNNER_MODELS: tier {settings.tier!r} has no {engine.kind} model {', '.join(unknown)}"
        )
    if not names:
        tiers = ", ".join(sorted({model.tier for model in catalog.models if model.kind == engine.kind})) or "none"
        raise SettingsError(
            f"TIERMESH_RUNNER_TIER: no {engine.kind} model has tier {settings.tier!r}; the catalog has: {tiers}"
        )
    models = [of_tier[name] for name in names]
    for model in models:
        if model.context > engine.context:
            raise SettingsError(
                f"{model.id} is sold with {model.context} tokens of context, but TIERMESH_RUNNER_CONTEXT is "
                f"{engine.context}; raise it or change the catalog"
            )
    return models


def check_voices(models: list[Model], engine: AnyEngine) -> None:
    """Raises SettingsError if a model is sold with a voice that a started engine lacks: a server has to be asked."""
    for model in models:
        if unknown := _unknown_voices(model, engine):
            raise SettingsError(
                f"{model.id} is sold with the voices {', '.join(unknown)}, which the engine {engine.name} does not "
                "have; take them out of the catalog"
            )


def _unknown_voices(model: Model, engine: AnyEngine) -> list[str]:
    """Returns the voices that a model is sold with and the engine lacks."""
    if not isinstance(engine, SpeechEngine):
        return []
    return [voice for voice in model.voices if voice.lower() not in engine.voices]


def needs_vision(settings: RunnerSettings, catalog: Catalog) -> bool:
    """Whether a model that this runner is to serve sees images."""
    names = split_list(settings.models)
    models = [model for model in catalog.tier(settings.tier) if not names or model.id in names]
    return any("vision" in model.capabilities for model in models)


def runner_record(
    runner_id: str, address: str, settings: RunnerSettings, models: list[Model], engine: AnyEngine
) -> RunnerRecord:
    """Returns the record of a ready runner."""
    facts = engine.facts() if isinstance(engine, KnowsFacts) else None
    return RunnerRecord(
        id=runner_id,
        address=address,
        tier=settings.tier,
        models=[model.id for model in models],
        capabilities=sorted({capability for model in models for capability in model.capabilities}),
        context=engine.context,
        slots=engine.slots,
        engine=engine.name,
        version=VERSION,
        gpus=list(facts.gpus) if facts else [],
        gpu_memory=facts.gpu_memory_total if facts else 0,
        pages=facts.pages_total if facts else 0,
        vocabulary=engine.vocabulary if isinstance(engine, TextEngine) else "",
    )


def draining(record: RunnerRecord) -> RunnerRecord:
    """Returns the record of the same runner while it drains."""
    return msgspec.structs.replace(record, state="draining")
