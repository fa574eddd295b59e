"""Stands in for the model and its cache: a Llama in plain torch over the generator's pages, on the CPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn import functional


class PagedCache:
    """Keys and values of every layer. Places that were never written hold NaN, so that reading them shows."""

    def __init__(self, model: PagedLlama, tokens: int) -> None:
        self.batch_size = 1
        self.max_seq_len = tokens
        self.current_seq_len = 0
        shape = (1, tokens, model.key_heads, model.head_size)
        self.layers = [
            (torch.full(shape, torch.nan, dtype=model.dtype), torch.full(shape, torch.nan, dtype=model.dtype))
            for _ in range(model.depth)
        ]

    def all_tensors(self) -> list[torch.Tensor]:
        return [tensor for layer in self.layers for tensor in layer]

    def copy_states(  # noqa: PLR0917 - the library passes them by position
        self,
        target: PagedCache,
        from_column: int,
        from_columns: int,
        to_column: int,
        to_columns: int,
        from_row: int,
        from_rows: int,
        to_row: int,
        to_rows: int,
    ) -> None:
        for mine, other in zip(self.all_tensors(), target.all_tensors(), strict=True):
            other[:, to_column : to_column + to_columns] = mine[:, from_column : from_column + from_columns].clone()


class PagedLlama:
    """Has what the generator asks of an ExLlamaV2: `config` and `forward_chunk`.

    `before` is called before each pass with the tokens that come in, shape (batch, tokens), and may raise.
    """

    def __init__(self, config: Any, dtype: torch.dtype) -> None:
        """`config` is the library's ExLlamaV2Config."""
        self.config = config
        self.dtype = dtype
        self.before: Callable[[torch.Tensor], None] = lambda _: None
        folder = Path(config.model_dir)
        self._weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
        document = json.loads((folder / "config.json").read_text())
        self.depth: int = document["num_hidden_layers"]
        self._heads: int = document["num_attention_heads"]
        self.key_heads: int = document["num_key_value_heads"]
        self.head_size: int = document["head_dim"]
        frequencies = torch.arange(0, self.head_size, 2, dtype=torch.float64) / self.head_size
        self._frequencies = config.rotary_embedding_base**-frequencies

    def unload(self) -> None:
        self._weights = {}

    def forward_chunk(
        self,
        input_ids: torch.Tensor,
        *,
        attn_params: Any,
        cache: PagedCache,
        preprocess_only: bool = False,
        loras: object = None,
        indexed_embeddings: Sequence[Any] = (),
    ) -> dict[str, torch.Tensor]:
        """Writes keys and values of these tokens and returns the logits of each, shape (batch, tokens, vocabulary)."""
        self.before(input_ids)
        with torch.inference_mode():
            rows = [
                self._row(input_ids[row], *_places(attn_params, row, input_ids.shape[1]), cache, indexed_embeddings)
                for row in range(input_ids.shape[0])
            ]
            if preprocess_only:
                return {}
            hidden = _norm(torch.stack(rows), self._weights["model.norm.weight"], self.config.norm_eps)
            logits = hidden @ self._weights.get("lm_head.weight", self._weights["model.embed_tokens.weight"]).T
            assert not logits.isnan().any(), "a place of the cache was read that had never been written"
            return {"logits": functional.pad(logits.float(), (0, -logits.shape[-1] % 32))}

    def _row(
        self, token_ids: torch.Tensor, past: int, places: torch.Tensor, cache: PagedCache, images: Sequence[Any]
    ) -> torch.Tensor:
        """Returns the hidden states of one sequence; `places` is where its tokens lie in the cache, old ones first."""
        hidden = self._embed(token_ids, images)
        positions = torch.arange(past, len(places), dtype=torch.float64)
        angles = torch.outer(positions, self._frequencies).repeat(1, 2)
        turn = (angles.cos().to(self.dtype)[:, None], angles.sin().to(self.dtype)[:, None])
        visible = torch.arange(len(places))[None, :] <= torch.arange(past, len(places))[:, None]
        for layer in range(self.depth):
            name = f"model.layers.{layer}."
            states = _norm(hidden, self._weights[name + "input_layernorm.weight"], self.config.norm_eps)
            hidden = hidden + self._attend(name + "self_attn.", states, turn, visible, places, cache.layers[layer])
            states = _norm(hidden, self._weights[name + "post_attention_layernorm.weight"], self.config.norm_eps)
            gate, up = (states @ self._weights[f"{name}mlp.{part}_proj.weight"].T for part in ("gate", "up"))
            hidden = hidden + (functional.silu(gate) * up) @ self._weights[name + "mlp.down_proj.weight"].T
        return hidden

    def _attend(
        self,
        name: str,
        states: torch.Tensor,
        turn: tuple[torch.Tensor, torch.Tensor],
        visible: torch.Tensor,
        places: torch.Tensor,
        stored: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        queries, keys, values = (
            (states @ self._weights[f"{name}{part}_proj.weight"].T).unflatten(-1, (-1, self.head_size))
            for part in ("q", "k", "v")
        )
        all_keys, all_values = stored
        written = places[-len(states) :]
        all_keys[0, written] = _rotate(keys, *turn)
        all_values[0, written] = values
        heads = [
            tensor.transpose(0, 1).repeat_interleave(self._heads // tensor.shape[1], dim=0)
            for tensor in (_rotate(queries, *turn), all_keys[0, places], all_values[0, places])
        ]
        attended = functional.scaled_dot_product_attention(*heads, attn_mask=visible)
        return attended.transpose(0, 1).flatten(1) @ self._weights[name + "o_proj.weight"].T

    def _embed(self, token_ids: torch.Tensor, images: Sequence[Any]) -> torch.Tensor:
        table = self._weights["model.embed_tokens.weight"]
        hidden = table[token_ids.clamp(max=len(table) - 1)]
        for image in images:
            at = token_ids - image.first_index
            inside = (at >= 0) & (at < image.length)
            hidden[inside] = image.embeddings[at[inside]].to(self.dtype)
        return hidden


def _places(attn_params: Any, row: int, length: int) -> tuple[int, torch.Tensor]:
    """Returns how many tokens of a sequence are cached, and where those and `length` new ones lie."""
    past = int(attn_params.cache_seqlens[row])
    positions = torch.arange(past + length)
    pages = attn_params.block_index[row].long()[positions // attn_params.page_size]
    return past, pages * attn_params.page_size + positions % attn_params.page_size


def _norm(hidden: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    return hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + epsilon) * weight


def _rotate(states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * cosine + torch.cat((-second, first), dim=-1) * sine
