from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from services.common.catalog import Catalog, CatalogError, load_catalog
from services.common.settings import DEFAULT_CATALOG

GOOD = """
models:
  - {id: small, kind: chat, tier: pro, price: 10, context: 4096, aliases: [org/small-v1]}
  - {id: large, kind: chat, tier: max, price: 15, context: 32768, capabilities: [tools], reasoning: true}
  - {id: large-fast, kind: chat, tier: max, price: 0, context: 1024}
"""


def load(directory: Path, text: str) -> Catalog:
    path = directory / "models.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return load_catalog(path)


def test_the_packaged_catalog_is_valid() -> None:
    catalog = load_catalog(DEFAULT_CATALOG)
    prices = {model.id: model.price for model in catalog.models}
    assert prices | {"tiermesh-pro": 10, "tiermesh-max": 15, "tiermesh-max-think": 20} == prices
    assert {model.kind for model in catalog.models} == {"chat", "embedding", "speech", "transcription", "image"}


def test_models_are_found_by_id_alias_and_tier(tmp_path: Path) -> None:
    catalog = load(tmp_path, GOOD)
    small = catalog.get("small")
    assert small is not None
    assert catalog.get("org/small-v1") is small
    assert catalog.get("Small") is None
    assert [model.id for model in catalog.tier("max")] == ["large", "large-fast"]
    assert catalog.tier("none") == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{id: a, kind: chat, tier: pro, price: -1, context: 64}", r"`int` >= 0 - at `\$.models\[0\].price`"),
        ("{id: a, kind: chat, tier: pro, price: 1.5, context: 64}", r"\$.models\[0\].price"),
        ("{id: a, kind: chat, tier: pro, price: 1}", "needs a 'context' of at least 16"),
        ("{id: a, kind: chat, tier: pro, price: 1, context: 64, prize: 2}", "unknown field `prize`"),
        ("{id: a, kind: poem, tier: pro, price: 1, context: 64}", r"\$.models\[0\].kind"),
        ("{id: a, kind: chat, tier: Pro tier, price: 1, context: 64}", r"\$.models\[0\].tier"),
        ("{id: 'a b', kind: chat, tier: pro, price: 1, context: 64}", r"\$.models\[0\].id"),
        ("{id: a, kind: chat, tier: pro, price: 1, context: 64, capabilities: [flying]}", "capabilities"),
        ("{id: a, kind: chat, tier: pro, price: 1, context: 64, aliases: [b, a]}", "the name 'a' is used twice"),
        (
            "{id: a, kind: chat, tier: pro, price: 1, context: 64, voices: [b]}",
            "'voices' are for models of kind speech",
        ),
        ("{id: a, kind: speech, tier: pro, price: 1, voices: ['']}", r"\$.models\[0\].voices"),
    ],
)
def test_a_mistake_is_refused_with_file_and_place(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(CatalogError, match=complaint) as caught:
        load(tmp_path, f"models:\n  - {line}\n")
    assert str(caught.value).startswith(f"the catalog {tmp_path / 'models.yaml'} is wrong: ")


def test_an_alias_may_not_be_the_id_of_another_model(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="the name 'large' is used twice"):
        load(tmp_path, GOOD.replace("org/small-v1", "large"))


@pytest.mark.parametrize("text", ["", "models: []", "- just\n- a list", "models: {}"])
def test_a_catalog_without_models_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CatalogError, match=r"models\.yaml is wrong"):
        load(tmp_path, text)


def test_files_that_cannot_be_read_are_reported_in_words(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"cannot read the catalog .*absent\.yaml: No such file or directory"):
        load_catalog(tmp_path / "absent.yaml")
    with pytest.raises(CatalogError, match="is not valid YAML"):
        load(tmp_path, "models: [")
    with pytest.raises(CatalogError, match="is not valid YAML: month must be in"):
        load(tmp_path, "models:\n  - {id: a, owned_by: 2024-13-45}\n")
    for text in ("models: !!bool x", "models: !!int ''", "models: !!timestamp x", "models: " + "[" * 3000):
        with pytest.raises(CatalogError, match="is not valid YAML"):
            load(tmp_path, text)
    path = tmp_path / "latin-1.yaml"
    path.write_bytes("models: [é]".encode("latin-1"))
    with pytest.raises(CatalogError, match="is not valid YAML"):
        load_catalog(path)
