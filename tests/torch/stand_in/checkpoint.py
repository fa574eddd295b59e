"""Writes a tiny Llama with random weights, in the layout of a real model directory."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
END, END_OF_TURN = 2, 4
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# What the vocabulary is made from; a prompt of such words has about as many tokens as words.
_CORPUS = (
    "You are a helpful assistant. What is the capital of France? Name three colours. Who wrote Hamlet? What is 2 + 2?",
    "The quick brown fox jumps over the lazy dog. Tell me a long story. system user assistant never Once upon a time,",
    '{"city": "Paris", "population": 2000000} Say something about the sea, a b c, the wind and a house.',
)


@dataclass(frozen=True)
class Shape:
    """How large a model is."""

    hidden: int = 128
    layers: int = 2
    heads: int = 4
    key_heads: int = 2
    inner: int = 256


SMALL = Shape()


def write_checkpoint(folder: Path, shape: Shape = SMALL, *, seed: int = 5, ends: bool = True) -> Path:
    """Makes the directory and returns it; with the default shape and seed no answer is very short or endless.

    Without `ends`, no greedy answer ends by itself, and all layers are alike: billions of weights take long to draw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    save_file(_weights(tokenizer, shape, seed, ends=ends), folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads,
        "head_dim": shape.hidden // shape.heads,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 50000.0},
        "vocab_size": size,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": END,
        "torch_dtype": "float16",
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "<|im_end|>",
        "chat_template": TEMPLATE,
    }
    for name, document in (
        ("config.json", config),
        ("generation_config.json", {"eos_token_id": [END, END_OF_TURN]}),
        ("tokenizer_config.json", tokenizer_config),
    ):
        (folder / name).write_text(json.dumps(document, indent=1), encoding="utf-8")
    return folder


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=True, normalized=False) for text in SPECIAL]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=640, special_tokens=special, initial_alphabet=alphabet, min_frequency=1, show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def _weights(tokenizer: Tokenizer, shape: Shape, seed: int, *, ends: bool) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)

    def matrix(rows: int, columns: int) -> torch.Tensor:
        return (torch.randn(rows, columns, generator=random) * columns**-0.5).to(torch.float16)

    size = tokenizer.get_vocab_size()
    hidden, key = shape.hidden, shape.hidden // shape.heads * shape.key_heads
    weights = {
        "model.embed_tokens.weight": matrix(size, hidden),
        "model.norm.weight": torch.ones(hidden, dtype=torch.float16),
        "lm_head.weight": matrix(size, hidden) * _likings(tokenizer, ends=ends)[:, None],
    }
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (key, hidden),
        "self_attn.v_proj": (key, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (shape.inner, hidden),
        "mlp.up_proj": (shape.inner, hidden),
        "mlp.down_proj": (hidden, shape.inner),
    }
    drawn: dict[str, torch.Tensor] = {}
    for layer in range(shape.layers):
        name = f"model.layers.{layer}."
        if ends or not drawn:
            drawn = {part: matrix(*sizes) for part, sizes in shapes.items()}
        weights |= {f"{name}{part}.weight": tensor.clone() for part, tensor in drawn.items()}
        for part in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{name}{part}.weight"] = torch.ones(hidden, dtype=torch.float16)
    return weights


def _likings(tokenizer: Tokenizer, *, ends: bool) -> torch.Tensor:
    """Returns how strongly each token is felt: words most of all, single bytes hardly, ends often enough to come."""
    likings = torch.full((tokenizer.get_vocab_size(),), 4.0, dtype=torch.float16)
    for token_id in range(len(likings)):
        text = tokenizer.id_to_token(token_id) or ""
        if len(text) == 1:
            likings[token_id] = 1.0
    likings[: len(SPECIAL)] = 0.0
    likings[END_OF_TURN] = likings[END] = 6.0 if ends else 0.0
    return likings


if __name__ == "__main__":
    write_checkpoint(Path(sys.argv[1]))
