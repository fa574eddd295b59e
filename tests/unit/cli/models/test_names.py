from __future__ import annotations

import pytest

from services.cli.models.names import model_names, tier_names
from services.common.catalog import Catalog, Model


@pytest.mark.parametrize(
    ("file", "title", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135M", "smollm2-135m-instruct"),
        ("Qwen2.5-7B-Instruct-Q4_K_M.gguf", "", "qwen2.5-7b-instruct"),
        ("gpt-oss-20b-MXFP4.gguf", "", "gpt-oss-20b"),
        ("Qwen3-4B-UD-IQ2_XXS.gguf", "", "qwen3-4b"),
        ("gemma-3-4b-it-BF16.gguf", "", "gemma-3-4b-it"),
        ("my model (new).gguf", "", "my-model-new"),
        # These names say nothing.
        ("model.gguf", "Mistral 7B", "mistral-7b"),
        ("ggml-model-q4_0.gguf", "Mistral 7B", "mistral-7b"),
        ("sha256-" + "0a" * 32, "Mistral 7B", "mistral-7b"),
        ("Q8_0.gguf", "", "q8_0"),
        ("---.gguf", "", "model"),
        ("\u6a21\u578b.gguf", "\u6a21\u578b", "model"),
    ],
)
def test_a_model_is_named_by_its_file_or_by_what_the_file_says(file: str, title: str, name: str) -> None:
    assert model_names([(file, title)]) == [name]


def test_no_two_models_and_no_two_tiers_have_one_name() -> None:
    files = [("a.b.gguf", ""), ("A.B-Q8_0.gguf", ""), ("a-b.gguf", ""), ("tiermesh-embed.gguf", "")]
    ids = model_names(files, ["tiermesh-embed"])
    assert ids == ["a.b", "a.b-2", "a-b", "tiermesh-embed-2"]
    assert tier_names(ids, ["a-b"]) == ["a-b-2", "a-b-2-2", "a-b-3", "tiermesh-embed-2"]


@pytest.mark.parametrize("name", ["x" * 300, "\u00e9" * 300, ".hidden", "-", "UPPER_case.v2", "a" * 35 + ".b"])
def test_every_name_is_one_that_a_catalog_takes(name: str) -> None:
    ids = model_names([(f"{name}.gguf", "")] * 2)
    models = [
        Model(id=model, tier=tier, kind="chat", price=1, context=256)
        for model, tier in zip(ids, tier_names(ids), strict=True)
    ]
    assert len(Catalog(models).models) == 2
