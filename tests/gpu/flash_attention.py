"""The functions of flash-attn 2 that ExLlamaV2 0.3.2 calls, on plain torch, for test machines that lack the package.

Their meaning is documented at https://github.com/Dao-AILab/flash-attention (`flash_attn_interface.py`). Slower than the
real ones, because the pages of each sequence are gathered at every layer and step: for tests, never for production.
On a GPU, torch's own variable-length kernel attends; FLASH_ATTENTION_STAND_IN=plain takes torch's masked attention.
"""

from __future__ import annotations

import os

import torch
from torch.nn import functional

# What the library takes for the version; it wants 2.5.7 or newer for a paged cache.
VERSION = "2.8.3"
_NO_WINDOW = (-1, -1)


def flash_attn_with_kvcache(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    *,
    k: torch.Tensor | None = None,
    v: torch.Tensor | None = None,
    cache_seqlens: torch.Tensor,
    block_table: torch.Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = _NO_WINDOW,
    softcap: float = 0.0,
) -> torch.Tensor:
    """Attends to a paged cache; `k` and `v`, the keys and values of the queries' own tokens, are written to it first.

    Shapes: `q` (batch, new, heads, size), `k`, `v` (batch, new, key heads, size), caches (pages, page size, key heads,
    size), `cache_seqlens` (batch): tokens in the cache before this call, `block_table` (batch, pages of a sequence).
    """
    lengths, table = cache_seqlens.long(), block_table.long()
    if k is not None and v is not None:
        page = k_cache.shape[1]
        places = lengths[:, None] + torch.arange(q.shape[1], device=q.device)
        pages = table.gather(1, places // page)
        k_cache[pages, places % page] = k
        v_cache[pages, places % page] = v
        lengths = lengths + q.shape[1]
    keys, values = k_cache[table].flatten(1, 2), v_cache[table].flatten(1, 2)
    return _attend(q, keys, values, lengths, softmax_scale, window_size, softcap, causal=causal)


def flash_attn_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = _NO_WINDOW,
    softcap: float = 0.0,
) -> torch.Tensor:
    """Attends within a batch of sequences of the same length; the last query stands at the last key."""
    lengths = torch.full((q.shape[0],), k.shape[1], device=q.device)
    return _attend(q, k, v, lengths, softmax_scale, window_size, softcap, causal=causal)


def flash_attn_varlen_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
) -> torch.Tensor:
    """Attends within each of several sequences that lie one after the other, as the parts of an image do."""
    del max_seqlen_q, max_seqlen_k
    query_ends, key_ends = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    parts = [
        flash_attn_func(
            q[None, query_ends[at] : query_ends[at + 1]],
            k[None, key_ends[at] : key_ends[at + 1]],
            v[None, key_ends[at] : key_ends[at + 1]],
        )[0]
        for at in range(len(query_ends) - 1)
    ]
    return torch.cat(parts)


def _attend(
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    lengths: torch.Tensor,
    scale: float | None,
    window: tuple[int, int],
    softcap: float,
    *,
    causal: bool,
) -> torch.Tensor:
    """Attends to the first `lengths` keys of each sequence, the last query standing at the last of them."""
    if q.is_cuda and not softcap and os.environ.get("FLASH_ATTENTION_STAND_IN") != "plain":
        return _kernel(q, keys, values, lengths, scale, window, causal=causal)
    return _plain(q, keys, values, lengths, scale, window, softcap, causal=causal)


def _kernel(
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    lengths: torch.Tensor,
    scale: float | None,
    window: tuple[int, int],
    *,
    causal: bool,
) -> torch.Tensor:
    batch, new, heads, size = q.shape
    length = keys.shape[1]

    def starts(step: int) -> torch.Tensor:
        return torch.arange(0, (batch + 1) * step, step, device=q.device, dtype=torch.int32)

    output = torch.ops.aten._flash_attention_forward(
        q.reshape(batch * new, heads, size),
        keys.flatten(0, 1),
        values.flatten(0, 1),
        starts(new),
        starts(length),
        new,
        length,
        0.0,
        causal,
        False,
        scale=scale,
        window_size_left=window[0],
        window_size_right=0 if causal else window[1],
        seqused_k=lengths.to(torch.int32),
    )[0]
    attended: torch.Tensor = output.view(batch, new, heads, size)
    return attended


def _plain(
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    lengths: torch.Tensor,
    scale: float | None,
    window: tuple[int, int],
    softcap: float,
    *,
    causal: bool,
) -> torch.Tensor:
    new, heads, size = q.shape[1:]
    at = torch.arange(keys.shape[1], device=q.device)
    # Where each query stands, shape (batch, new, 1).
    here = (lengths[:, None] - new + torch.arange(new, device=q.device))[:, :, None]
    written = at < lengths[:, None]
    visible = written[:, None] & (at <= here) if causal else written[:, None].expand(-1, new, -1)
    if window[0] >= 0:
        visible = visible & (at >= here - window[0])
    if window[1] >= 0:
        visible = visible & (at <= here + window[1])
    # Places that were never written may hold anything, and nothing times infinity is not nothing.
    keys, values = (tensor.masked_fill(~written[:, :, None, None], 0) for tensor in (keys, values))
    queries, keys, values = (
        tensor.repeat_interleave(heads // tensor.shape[2], dim=2).transpose(1, 2) for tensor in (q, keys, values)
    )
    if softcap:
        scores = (queries.float() @ keys.float().transpose(-1, -2)) * (size**-0.5 if scale is None else scale)
        scores = (softcap * torch.tanh(scores / softcap)).masked_fill(~visible[:, None], float("-inf"))
        return (torch.softmax(scores, -1) @ values.float()).to(q.dtype).transpose(1, 2)
    return functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=visible[:, None], scale=scale
    ).transpose(1, 2)
