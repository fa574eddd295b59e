"""Reads what a model directory says about its model, and refuses what ExLlamaV2 0.3.2 would load wrongly.

The layout is that of models on Hugging Face: config.json, tokenizer.json, tokenizer_config.json, *.safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.runner.engines.exllamav2.errors import ModelError
from services.runner.engines.exllamav2.rope import Rope, read_rope
from services.runner.engines.exllamav2.weights import check_weights

# The library loads any other architecture "as Llama" with no more than a printed warning.
_TEXT = frozenset(
    f"{name}ForCausalLM"
    for name in (
        *("Cohere", "Cohere2", "Dbrx", "Gemma", "Gemma2", "Gemmoe", "Glm4", "GPTBigCode", "Granite", "Index"),
        *("InternLM2", "Llama", "MiniCPM", "Mistral", "Mixtral", "Orion", "Phi3", "Qwen2", "Qwen3", "Qwen3Moe"),
        *("Starcoder2", "Yi"),
    )
) | {"GPT2LMHeadModel"}
# Those with a vision tower, and the kinds of tower that it may be.
_VISION = {
    "Gemma3ForConditionalGeneration": {"siglip_vision_model"},
    "LlavaForConditionalGeneration": {"pixtral"},
    "Mistral3ForConditionalGeneration": {"pixtral"},
    "Qwen2VLForConditionalGeneration": None,
    "Qwen2_5_VLForConditionalGeneration": None,
}
# The library claims Qwen3, Qwen3-MoE and GLM-4 too, but its `tp_attn_forward_paged_` leaves out the norms of heads
# (Qwen3), second norms and partial rotary embeddings (GLM-4), and experts it cannot split.
_TENSOR_PARALLEL = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"})
_TEMPLATE_FILE = "chat_template.jinja"


@dataclass(frozen=True, slots=True)
class ModelDirectory:
    """What is known of a model before it is loaded."""

    path: Path
    architecture: str
    # Tokens that the model can attend to.
    context: int
    # Every token that ends an answer.
    eos_token_ids: tuple[int, ...]
    # What every prompt begins with; empty for models without a beginning-of-sequence token.
    bos_text: str
    chat_template: str
    rope: Rope
    # Whether it has a vision tower that the library supports.
    vision: bool

    @property
    def tensor_parallel(self) -> bool:
        """Whether the library can split the layers of this architecture."""
        return self.architecture in _TENSOR_PARALLEL


def read_model_directory(path: Path) -> ModelDirectory:
    """Returns what the files say; raises ModelError for what is missing or would be loaded wrongly."""
    if not path.is_dir():
        raise ModelError(f"there is no model directory {path}: set TIERMESH_RUNNER_MODEL_PATH to one")
    config = _read(path / "config.json", needed=True)
    tokenizer = _read(path / "tokenizer.json", needed=True)
    tokenizer_config = _read(path / "tokenizer_config.json")
    architecture = _architecture(path, config)
    check_weights(path)
    template = _chat_template(path, tokenizer_config)
    return ModelDirectory(
        path=path,
        architecture=architecture,
        context=_context(path, config),
        eos_token_ids=_eos_token_ids(path, config, tokenizer, tokenizer_config),
        bos_text=_bos_text(tokenizer_config, template),
        chat_template=template,
        rope=read_rope(config),
        vision=architecture in _VISION,
    )


def check_draft(directory: ModelDirectory, draft: ModelDirectory) -> None:
    """Raises ModelError unless a draft model speaks in the same tokens."""
    one, other = (_read(each.path / "tokenizer.json", needed=True).get("model", {}) for each in (directory, draft))
    if one.get("vocab") != other.get("vocab") or directory.eos_token_ids != draft.eos_token_ids:
        raise ModelError(f"the draft model {draft.path} has another vocabulary than {directory.path}")


def _read(path: Path, *, needed: bool = False) -> dict[str, Any]:
    if not path.is_file():
        if needed:
            raise ModelError(f"{path} is missing: copy the whole model")
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object")
    return value


def _architecture(path: Path, config: Mapping[str, Any]) -> str:
    names = config.get("architectures") or []
    if len(names) != 1:
        raise ModelError(f"{path / 'config.json'} must name one architecture, not {len(names)}")
    name = str(names[0])
    if name in _VISION:
        towers, tower = _VISION[name], (config.get("vision_config") or {}).get("model_type")
        if towers is None or tower in towers:
            return name
        raise ModelError(f"ExLlamaV2 does not support {name} with the vision tower {tower!r}")
    if name not in _TEXT:
        known = ", ".join(sorted(_TEXT | set(_VISION)))
        raise ModelError(f"ExLlamaV2 does not support the architecture {name}; it supports {known}")
    return name


def _context(path: Path, config: Mapping[str, Any]) -> int:
    text = {**config, **(config.get("text_config") or {})}
    names = ("max_sequence_length", "model_max_length", "max_position_embeddings", "max_seq_len", "n_positions")
    for name in names:
        if isinstance(text.get(name), int):
            return int(text[name])
    raise ModelError(f"{path / 'config.json'} does not say how long a context may be: add max_position_embeddings")


def _eos_token_ids(
    path: Path, config: Mapping[str, Any], tokenizer: Mapping[str, Any], tokenizer_config: Mapping[str, Any]
) -> tuple[int, ...]:
    """Collects the ends from every place that names one: each file knows some, and the library reads one alone."""
    text = {**config, **(config.get("text_config") or {})}
    found: set[int] = set()
    for source in (_read(path / "generation_config.json"), text):
        value = source.get("eos_token_id")
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    name = _token_text(tokenizer_config.get("eos_token"))
    found.update(int(token["id"]) for token in tokenizer.get("added_tokens", ()) if name and token["content"] == name)
    if not found:
        raise ModelError(f"{path} names no token that ends an answer: add eos_token_id to generation_config.json")
    return tuple(sorted(found))


def _bos_text(tokenizer_config: Mapping[str, Any], template: str) -> str:
    """Returns the beginning-of-sequence token for models that were trained with one: their template writes it."""
    wanted = "bos_token" in template or tokenizer_config.get("add_bos_token") is True
    return _token_text(tokenizer_config.get("bos_token")) if wanted else ""


def _token_text(token: Any) -> str:
    # A token is its text, or an object with it, or null.
    return str(token.get("content") or "") if isinstance(token, Mapping) else str(token or "")


def _chat_template(path: Path, tokenizer_config: Mapping[str, Any]) -> str:
    file = path / _TEMPLATE_FILE
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = tokenizer_config.get("chat_template") or _read(path / "chat_template.json").get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("tool_use") or named.get("default")
    if not isinstance(template, str) or not template:
        raise ModelError(f"{path} has no chat template: add {_TEMPLATE_FILE} (base models cannot chat)")
    return template
