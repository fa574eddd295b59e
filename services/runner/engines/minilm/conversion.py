"""Converts a BERT sentence encoder, as Hugging Face publishes it, to the GGUF file that llama.cpp loads.

Names of metadata and tensors are those of llama.cpp's architecture `bert`, listed in its gguf-py/gguf/constants.py.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from services.runner.engines.llamacpp.gguf_writer import Tensor, TensorType, Value, write_gguf
from services.runner.engines.minilm.safetensors import SafetensorsFile

_MEAN_POOLING = 1
_MOSTLY_F16 = 1
_NORMAL, _CONTROL, _UNUSED = 1, 3, 5
_SPECIAL = {
    "bos": "[CLS]",
    "eos": "[SEP]",
    "unknown": "[UNK]",
    "seperator": "[SEP]",
    "padding": "[PAD]",
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
# Numbers converted at a time: few enough to need no noticeable memory.
_PIECE = 1 << 16


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


def convert(folder: Path, name: str, file: BinaryIO) -> None:
    """Writes the model in `folder` (config.json, tokenizer.json, model.safetensors; mean pooling) with 16-bit weights.

    Raises OSError or ValueError, also where a file is not what it should be.
    """
    config = read_config(folder)
    tokenizer = msgspec.json.decode((folder / "tokenizer.json").read_bytes(), type=_Tokenizer)
    metadata = _model_metadata(name, config) | _vocabulary_metadata(tokenizer.model.vocab)
    with SafetensorsFile(folder / "model.safetensors") as weights:
        names = _tensor_names(config.num_hidden_layers)
        if missing := names.keys() - weights.tensors.keys():
            raise ValueError(f"{folder} lacks the tensors {', '.join(sorted(missing))}")
        write_gguf(file, metadata, [_tensor(weights, source, target) for source, target in names.items()])


def _model_metadata(name: str, config: BertConfig) -> dict[str, Value]:
    return {
        "general.architecture": "bert",
        "general.name": name,
        "general.file_type": _MOSTLY_F16,
        "bert.context_length": config.max_position_embeddings,
        "bert.embedding_length": config.hidden_size,
        "bert.feed_forward_length": config.intermediate_size,
        "bert.block_count": config.num_hidden_layers,
        "bert.attention.head_count": config.num_attention_heads,
        "bert.attention.layer_norm_epsilon": config.layer_norm_eps,
        "bert.attention.causal": False,
        "bert.pooling_type": _MEAN_POOLING,
        "tokenizer.ggml.token_type_count": config.type_vocab_size,
    }


def _vocabulary_metadata(vocabulary: dict[str, int]) -> dict[str, Value]:
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError("the tokens of the vocabulary are not numbered from 0 without gaps")
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special: dict[str, Value] = {
        f"tokenizer.ggml.{role}_token_id": vocabulary[token] for role, token in _SPECIAL.items()
    }
    return special | {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [_spelling(token) for token in tokens],
        "tokenizer.ggml.token_type": [_token_type(token) for token in tokens],
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": True,
    }


def _spelling(token: str) -> str:
    """Spells a token as llama.cpp does: it marks where words begin (by U+2581), BERT marks where they go on."""
    if _token_type(token) != _NORMAL:
        return token
    return token.removeprefix("##") if token.startswith("##") else "\u2581" + token


def _token_type(token: str) -> int:
    if token in _SPECIAL.values():
        return _CONTROL
    return _UNUSED if token.startswith("[unused") else _NORMAL


def _tensor_names(layers: int) -> dict[str, str]:
    """Returns the names in the source file → llama.cpp's."""
    names = {f"embeddings.{source}": target for source, target in _EMBEDDINGS.items()}
    for layer in range(layers):
        for source, target in _LAYER.items():
            for part in ("weight", "bias"):
                names[f"encoder.layer.{layer}.{source}.{part}"] = f"blk.{layer}.{target}.{part}"
    return names


def _tensor(weights: SafetensorsFile, source: str, target: str) -> Tensor:
    info = weights.tensors[source]
    if info.dtype != "F32":
        raise ValueError(f"{source} is stored as {info.dtype}; only F32 can be converted")
    halved = len(info.shape) == 2 and not target.startswith(_SMALL)
    pieces = _pieces(weights, source, math.prod(info.shape), halved=halved)
    return Tensor(target, info.shape, TensorType.F16 if halved else TensorType.F32, pieces)


def _pieces(weights: SafetensorsFile, name: str, count: int, *, halved: bool) -> Iterator[bytes]:
    for start in range(0, count, _PIECE):
        end = min(start + _PIECE, count)
        piece = weights.read(name, 4 * start, 4 * end)
        yield struct.pack(f"<{end - start}e", *struct.unpack(f"<{end - start}f", piece)) if halved else piece
