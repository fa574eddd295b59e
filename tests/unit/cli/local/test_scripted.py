from __future__ import annotations

from pathlib import Path

import msgspec

from services.cli.local.scripted import CONTEXT, with_long_contexts, write_catalog
from services.common.catalog import load_catalog
from services.common.settings import DEFAULT_CATALOG


def test_only_the_context_of_chat_models_differs(tmp_path: Path) -> None:
    sold = load_catalog(DEFAULT_CATALOG)
    write_catalog(with_long_contexts(sold), tmp_path / "models.json")
    scripted = load_catalog(tmp_path / "models.json")
    assert [model.context for model in scripted.models if model.kind == "chat"] == [CONTEXT] * 4
    assert [msgspec.structs.replace(model, context=CONTEXT) for model in scripted.models] == [
        msgspec.structs.replace(model, context=CONTEXT) for model in sold.models
    ]
    others = [model for model in sold.models if model.kind != "chat"]
    assert [model for model in scripted.models if model.kind != "chat"] == others


def test_a_longer_context_stays(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("models:\n  - {id: a, kind: chat, tier: pro, price: 1, context: 200000}\n")
    assert [model.context for model in with_long_contexts(load_catalog(path)).models] == [200_000]
