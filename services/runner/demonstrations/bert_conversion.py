"""Converts a BERT sentence encoder, as Hugging Face publishes it, to the GGUF file that llama.cpp loads.

Names of tensors are those of llama.cpp's architecture `bert`, listed in its gguf-py/gguf/constants.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from services.common.extras import how_to_install

_SPECIAL = {
    "bos": "[CLS]",
    "eos": "[SEP]",
    "unk": "[UNK]",
    "sep": "[SEP]",
    "pad": "[PAD]",
    "mask": "[MASK]",
}
_EMBEDDINGS = {
    "word_embeddings.weight": "token_embd.weight",
    "position_embeddings.weight": "position_embd.weight",
    "token_type_embeddings.weight": "token_types.weight",
    "LayerNorm.weight": "token_embd_norm.weight",
    "LayerNorm.bias": "token_embd_norm.bias",
}
_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
# llama.cpp keeps these in full precision.
_SMALL = ("position_embd", "token_types")


class BertConfig(msgspec.Struct, frozen=True):
    """What is needed of a model's config.json."""

    max_position_embeddings: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    layer_norm_eps: float
    type_vocab_size: int


class _WordPiece(msgspec.Struct, frozen=True):
    vocab: dict[str, int]


class _Tokenizer(msgspec.Struct, frozen=True):
    model: _WordPiece


def read_config(folder: Path) -> BertConfig:
    """Reads config.json; raises OSError or msgspec.ValidationError."""
    return msgspec.json.decode((folder / "config.json").read_bytes(), type=BertConfig)


def convert(folder: Path, name: str, target: Path) -> None:
    """Writes the model in `folder` (config.json, tokenizer.json, model.safetensors; mean pooling) with 16-bit weights.

    Raises OSError or ValueError, also where a file is not what it should be.
    """
    try:
        from gguf import GGUFWriter
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        message = f"converting a model needs the packages gguf and safetensors: {how_to_install('embedding')}"
        raise RuntimeError(message) from error
    config = read_config(folder)
    tokenizer = msgspec.json.decode((folder / "tokenizer.json").read_bytes(), type=_Tokenizer)
    writer = GGUFWriter(target, "bert")
    _add_configuration(writer, name, config)
    _add_vocabulary(writer, tokenizer.model.vocab)
    try:
        with safe_open(folder / "model.safetensors", framework="numpy") as weights:
            names = _tensor_names(config.num_hidden_layers)
            if missing := names.keys() - set(weights.keys()):
                raise ValueError(f"{folder} lacks the tensors {', '.join(sorted(missing))}")
            for source, tensor in names.items():
                writer.add_tensor(tensor, _converted(source, tensor, weights.get_tensor(source)))
    except SafetensorError as error:
        raise ValueError(f"{folder / 'model.safetensors'} is not a readable safetensors file") from error
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_configuration(writer: Any, name: str, config: BertConfig) -> None:
    from gguf import LlamaFileType, PoolingType

    writer.add_name(name)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.MEAN)
    writer.add_token_type_count(config.type_vocab_size)


def _add_vocabulary(writer: Any, vocabulary: dict[str, int]) -> None:
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError("the tokens of the vocabulary are not numbered from 0 without gaps")
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([_spelling(token) for token in tokens])
    writer.add_token_types([_token_type(token) for token in tokens])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    for role, token in _SPECIAL.items():
        getattr(writer, f"add_{role}_token_id")(vocabulary[token])


def _spelling(token: str) -> str:
    """Spells a token as llama.cpp does: it marks where words begin (by U+2581), BERT marks where they go on."""
    if token in _SPECIAL.values() or token.startswith("[unused"):
        return token
    return token.removeprefix("##") if token.startswith("##") else "\u2581" + token


def _token_type(token: str) -> int:
    from gguf import TokenType

    if token in _SPECIAL.values():
        return int(TokenType.CONTROL)
    return int(TokenType.UNUSED if token.startswith("[unused") else TokenType.NORMAL)


def _tensor_names(layers: int) -> dict[str, str]:
    """Returns the names in the source file → llama.cpp's."""
    names = {f"embeddings.{source}": target for source, target in _EMBEDDINGS.items()}
    for layer in range(layers):
        for source, target in _LAYER.items():
            for part in ("weight", "bias"):
                names[f"encoder.layer.{layer}.{source}.{part}"] = f"blk.{layer}.{target}.{part}"
    return names


def _converted(source: str, target: str, tensor: Any) -> Any:
    """Returns matrices in 16 bits; llama.cpp keeps the rest in full precision. Both are numpy's arrays."""
    if tensor.dtype != "float32":
        raise ValueError(f"{source} is stored as {tensor.dtype}; only float32 can be converted")
    halved = tensor.ndim == 2 and not target.startswith(_SMALL)
    return tensor.astype("float16") if halved else tensor
