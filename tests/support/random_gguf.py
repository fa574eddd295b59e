"""A tiny llama with random weights and the vocabulary of the real model, as a GGUF file: for tests of many answers."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import gguf
import numpy

from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.llamacpp.vocabulary import Vocabulary

Matrix: TypeAlias = numpy.ndarray[tuple[int, int], numpy.dtype[numpy.float32]]
_HIDDEN, _INNER, _HEADS, _CONTEXT = 64, 64, 2, 4096
# What every embedding has in its first place, so that the first weight of an output row is the token's bias.
_CONSTANT = 10.0
# How much likelier are tokens of nothing but what ends strings, arrays, objects and answers.
_LIKING = 5.0
_ENDINGS = frozenset(b'"}],: ')


def write_random_gguf(path: Path, seed: int = 5) -> Path:
    """Writes the file and returns its path; with the default seed answers are of all lengths."""
    dice = numpy.random.default_rng(seed)
    vocabulary = Vocabulary(find_smollm2())
    size = len(vocabulary.pieces)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_HIDDEN)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    _copy_tokenizer(writer)

    def matrix(rows: int, columns: int) -> Matrix:
        return dice.standard_normal((rows, columns), dtype=numpy.float32) * numpy.float32(columns**-0.5)

    embedding, output = matrix(size, _HIDDEN) * numpy.float32(_HIDDEN**0.5), matrix(size, _HIDDEN)
    embedding[:, 0] = _CONSTANT
    output[:, 0] = 0
    liked = [token_id for token_id, piece in enumerate(vocabulary.pieces) if piece and set(piece) <= _ENDINGS]
    output[[*liked, vocabulary.eos_token_id], 0] = _LIKING * _HIDDEN**-0.5
    tensors: dict[str, Matrix | None] = {
        "token_embd.weight": embedding,
        "output.weight": output,
        "output_norm.weight": None,
    }
    tensors |= {f"blk.0.{name}.weight": None for name in ("attn_norm", "ffn_norm")}
    tensors |= {f"blk.0.attn_{name}.weight": matrix(_HIDDEN, _HIDDEN) for name in ("q", "k", "v", "output")}
    tensors |= {f"blk.0.ffn_{name}.weight": matrix(_INNER, _HIDDEN) for name in ("gate", "up", "down")}
    for name, tensor in tensors.items():
        writer.add_tensor(name, numpy.ones(_HIDDEN, numpy.float32) if tensor is None else tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _copy_tokenizer(writer: gguf.GGUFWriter) -> None:
    for field in gguf.GGUFReader(find_smollm2()).fields.values():
        if field.name.startswith("tokenizer."):
            inner = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
