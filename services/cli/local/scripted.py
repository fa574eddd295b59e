"""How `tiermesh up --script` differs: the simulated engine has room for the prompts of agents, and the pace of a model.

The packaged model has room for short prompts only, and a catalog is written for it. A simulated answer needs no memory,
so what is sold here is a copy of the catalog with longer contexts: the list of models then tells agents the truth.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from services.cli.state import write_private_json
from services.common.catalog import Catalog, Model

# What coding agents send first has up to about 25,000 tokens; those that look at the context want more than 64,000.
CONTEXT = 131_072
# A model on one GPU: tokens per second, of each answer and of reading a prompt.
SETTINGS = {"SIMULATED_SPEED": "60", "SIMULATED_PREFILL_SPEED": "10000"}


def with_long_contexts(catalog: Catalog) -> Catalog:
    """Returns the same catalog, in which every chat model has at least CONTEXT tokens."""
    return Catalog([_with_long_context(model) for model in catalog.models])


def write_catalog(catalog: Catalog, path: Path) -> None:
    """Writes a catalog file; raises OSError."""
    write_private_json(path, {"models": catalog.models})


def _with_long_context(model: Model) -> Model:
    if model.kind != "chat":
        return model
    return msgspec.structs.replace(model, context=max(model.context, CONTEXT))
