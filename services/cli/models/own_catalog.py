"""What a local mesh with models of the user's own sells: these, and those of the demonstration's for other work."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from services.cli.models.own_model import OwnModel
from services.common.catalog import Catalog, Kind, Model

# As the demonstration's models: credits for one request, without thinking and with it.
_PRICE, _THINKING_PRICE = 10, 20
# Many servers answer nothing at all while they paint, or listen to a long recording.
_SILENCE_SECONDS, _SILENCE = 60, {"image": 300, "transcription": 300}


def without_kinds(catalog: Catalog, kinds: Collection[Kind]) -> list[Model]:
    """Returns the models of a catalog that do other work."""
    return [model for model in catalog.models if model.kind not in kinds]


def own_catalog(own: Iterable[OwnModel], others: Sequence[Model]) -> Catalog:
    """Returns a catalog with a tier for each of the user's models, in their order, and with the others."""
    return Catalog([*(model for each in own for model in _sold(each)), *others])


def _sold(own: OwnModel) -> list[Model]:
    """Returns what is sold of a model: two if thinking can be chosen."""
    thinking = {"never": [False], "always": [True], "optional": [False, True]}[own.thinking]
    if own.kind != "chat":
        thinking = [False]
    return [
        Model(
            id=f"{own.id}-think" if reasoning and len(thinking) > 1 else own.id,
            kind=own.kind,
            tier=own.tier,
            price=_THINKING_PRICE if reasoning else _PRICE,
            capabilities=("tools",) if own.tools and own.kind == "chat" else (),
            context=own.context,
            reasoning=reasoning,
            voices=own.voices,
            silence_seconds=_SILENCE.get(own.kind, _SILENCE_SECONDS),
            created=own.created,
        )
        for reasoning in thinking
    ]
