"""Model directories: what is read from them, and what ExLlamaV2 would load wrongly."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from services.runner.engines.exllamav2.errors import ModelError
from services.runner.engines.exllamav2.model_directory import read_model_directory

CONFIG = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 2048, "eos_token_id": 2, "rope_theta": 1e4}
TOKENIZER = {"added_tokens": [{"id": 4, "content": "<|im_end|>", "special": True}]}
TOKENIZER_CONFIG = {"bos_token": {"content": "<s>"}, "eos_token": "<|im_end|>", "chat_template": "{{ messages }}"}


def safetensors(data: bytes = b"\0" * 8) -> bytes:
    header = json.dumps({"weight": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


def put(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    put(folder, "config.json", CONFIG)
    put(folder, "tokenizer.json", TOKENIZER)
    put(folder, "tokenizer_config.json", TOKENIZER_CONFIG)
    (folder / "model.safetensors").write_bytes(safetensors())
    return folder


def test_a_whole_model_is_read(model: Path) -> None:
    put(model, "generation_config.json", {"eos_token_id": [2, 7]})
    found = read_model_directory(model)
    assert (found.architecture, found.context, found.vision) == ("LlamaForCausalLM", 2048, False)
    # From generation_config.json, from config.json, and from the tokenizer's own name for it.
    assert found.eos_token_ids == (2, 4, 7)
    assert (found.chat_template, found.bos_text) == ("{{ messages }}", "")
    assert found.tensor_parallel


def test_what_the_library_splits_wrongly_is_not_split(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    for name, split in (("Qwen2ForCausalLM", True), ("Qwen3ForCausalLM", False), ("Glm4ForCausalLM", False)):
        put(model, "config.json", {**config, "architectures": [name]})
        assert read_model_directory(model).tensor_parallel is split


def test_a_beginning_is_written_for_models_whose_template_writes_one(model: Path) -> None:
    put(model, "tokenizer_config.json", {**TOKENIZER_CONFIG, "chat_template": "{{ bos_token }}{{ messages }}"})
    assert read_model_directory(model).bos_text == "<s>"
    put(model, "tokenizer_config.json", {**TOKENIZER_CONFIG, "add_bos_token": True})
    assert read_model_directory(model).bos_text == "<s>"


def test_the_chat_template_may_lie_in_several_places(model: Path) -> None:
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "with tools"}]
    put(model, "tokenizer_config.json", {**TOKENIZER_CONFIG, "chat_template": named})
    assert read_model_directory(model).chat_template == "with tools"
    put(model, "tokenizer_config.json", {"eos_token": "<|im_end|>"})
    put(model, "chat_template.json", {"chat_template": "from chat_template.json"})
    assert read_model_directory(model).chat_template == "from chat_template.json"
    (model / "chat_template.jinja").write_text("from a file", encoding="utf-8")
    assert read_model_directory(model).chat_template == "from a file"


def test_a_model_with_eyes_is_known_by_its_tower(model: Path) -> None:
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "text_config": {"max_position_embeddings": 4096},
        "vision_config": {"model_type": "pixtral"},
    }
    put(model, "config.json", config)
    found = read_model_directory(model)
    assert (found.vision, found.context, found.tensor_parallel) == (True, 4096, False)
    put(model, "config.json", {**config, "vision_config": {"model_type": "clip_vision_model"}})
    with pytest.raises(ModelError, match="vision tower 'clip_vision_model'"):
        read_model_directory(model)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        read_model_directory(model)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architectures": ["UnheardOfForCausalLM"]}, "does not support the architecture UnheardOfForCausalLM"),
        ({"architectures": []}, "must name one architecture"),
        ({"max_position_embeddings": None}, "add max_position_embeddings"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2}}, "would ignore"),
    ],
)
def test_what_would_be_loaded_wrongly_is_refused(model: Path, changes: dict[str, Any], reason: str) -> None:
    put(model, "config.json", {**CONFIG, **changes})
    with pytest.raises(ModelError, match=reason):
        read_model_directory(model)


def test_a_model_that_cannot_chat_or_end_is_refused(model: Path) -> None:
    put(model, "tokenizer_config.json", {"chat_template": "{{ messages }}"})
    put(model, "config.json", {**CONFIG, "eos_token_id": None})
    with pytest.raises(ModelError, match="names no token that ends an answer"):
        read_model_directory(model)
    put(model, "config.json", CONFIG)
    put(model, "tokenizer_config.json", {})
    with pytest.raises(ModelError, match="has no chat template"):
        read_model_directory(model)


def test_files_that_are_not_json_are_named(model: Path) -> None:
    (model / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json is not valid JSON"):
        read_model_directory(model)
    (model / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json must hold a JSON object"):
        read_model_directory(model)


def test_no_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model directory"):
        read_model_directory(tmp_path / "nowhere")


def test_missing_shards_are_named(model: Path) -> None:
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    put(model, "model.safetensors.index.json", {"weight_map": shards})
    (model / "model.safetensors").rename(model / shards["a"])
    with pytest.raises(ModelError, match="lacks model-00002-of-00002"):
        read_model_directory(model)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (safetensors(b"\0" * 3), "is cut off"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"GGUF\3\0\0\0" + b"\0" * 40, "is no safetensors file"),
        (struct.pack("<Q", 8) + b"not json", "is no safetensors file"),
        (b"", "is no safetensors file"),
    ],
)
def test_broken_weights_are_named(model: Path, content: bytes, reason: str) -> None:
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        read_model_directory(model)


def test_weights_in_another_format_are_refused(model: Path) -> None:
    (model / "model.safetensors").rename(model / "model.gguf")
    with pytest.raises(ModelError, match="must be converted first"):
        read_model_directory(model)
