"""GGUF files with the metadata of a model and next to no weights: for tests of what is said about files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy

# As those of many models; it can be told to think, or not to.
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
_BYTES = [chr(code) for code in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x144))]
_CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def small_metadata(architecture: str = "llama", **replaced: Any) -> dict[str, Any]:
    """Returns the metadata of a file that can be served, some of them replaced: underscores stand for dots."""
    known = {
        "general.architecture": architecture,
        f"{architecture}.block_count": 2,
        f"{architecture}.context_length": 4096,
        f"{architecture}.embedding_length": 64,
        f"{architecture}.attention.head_count": 4,
        f"{architecture}.attention.head_count_kv": 2,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [*_BYTES, *_CONTROLS],
        "tokenizer.ggml.token_type": [1] * len(_BYTES) + [3] * len(_CONTROLS),
        "tokenizer.ggml.eos_token_id": len(_BYTES) + 2,
        "tokenizer.chat_template": TEMPLATE,
    }
    return known | replaced


def write_small_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    replaced: Mapping[str, Any] = {},
    without: Collection[str] = (),
    weights: int = 64,
) -> Path:
    """Writes the file and returns its path. `weights` is how many rows of numbers it has."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in small_metadata(architecture, **replaced).items():
        # The writer has written the architecture already.
        if key in without or (key == "general.architecture" and value == architecture):
            continue
        _add(writer, key, value)
    if weights:
        writer.add_tensor("token_embd.weight", numpy.zeros((weights, 64), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_array(key, value)
