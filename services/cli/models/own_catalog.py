"""What a local mesh with models of the user's own sells: these, and what the demonstration sells beside chats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.cli.models.own_model import OwnModel
from services.common.catalog import Catalog, Model

# As the demonstration's models: credits for one request, without thinking and with it.
_PRICE, _THINKING_PRICE = 10, 20


def without_chats(catalog: Catalog) -> list[Model]:
    """Returns the models of a catalog that do other work than chats."""
    return [model for model in catalog.models if model.kind != "chat"]


def own_catalog(own: Iterable[OwnModel], others: Sequence[Model]) -> Catalog:
    """Returns a catalog with a tier for each of the user's models, in their order, and with the others."""
    return Catalog([*(model for each in own for model in _sold(each)), *others])


def _sold(own: OwnModel) -> list[Model]:
    """Returns what is sold of a model: two if thinking can be chosen."""
    thinking = {"never": [False], "always": [True], "optional": [False, True]}[own.thinking]
    return [
        Model(
            id=f"{own.id}-think" if reasoning and len(thinking) > 1 else own.id,
            kind="chat",
            tier=own.tier,
            price=_THINKING_PRICE if reasoning else _PRICE,
            capabilities=("tools",) if own.tools else (),
            context=own.context,
            reasoning=reasoning,
            created=own.created,
        )
        for reasoning in thinking
    ]
