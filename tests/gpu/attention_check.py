"""How far `tests.gpu.flash_attention` is from attention written down as in the textbook.

`python -m tests.gpu.attention_check kernel|plain` prints it for one of its two ways on a GPU: a process of its own,
because a kernel that reads where it must not spoils CUDA for the rest of its process.
"""

from __future__ import annotations

import os
import sys

import torch

from tests.gpu.flash_attention import flash_attn_with_kvcache

PAGE = 256
# Tokens in the cache: less than a page, more, almost full pages, and none at all.
LENGTHS = (250, 511, 3, 0)
# Batch, new tokens, heads, heads of keys, size of a head: a step of many answers, a chunk of a prompt, drafts.
SHAPES = ((4, 1, 9, 3, 64), (1, 17, 9, 3, 64), (3, 5, 4, 4, 32))


def largest_error(device: str, dtype: torch.dtype) -> float:
    """Returns the largest difference over several shapes, to attention in 64 bits."""
    random = torch.Generator().manual_seed(0)
    return max(_error(shape, random, device, dtype) for shape in SHAPES)


def _error(shape: tuple[int, int, int, int, int], random: torch.Generator, device: str, dtype: torch.dtype) -> float:
    batch, new, heads, key_heads, size = shape

    def normal(*sizes: int) -> torch.Tensor:
        return torch.randn(*sizes, generator=random).to(device, dtype)

    pages = 3 * batch + 2
    table = torch.randperm(pages, generator=random)[: 3 * batch].view(batch, 3).to(device)
    lengths = torch.tensor(LENGTHS[:batch], device=device)
    caches = [torch.zeros(pages, PAGE, key_heads, size, device=device, dtype=dtype) for _ in range(2)]
    old = [normal(batch, 3 * PAGE, key_heads, size) for _ in range(2)]
    for cache, tokens in zip(caches, old, strict=True):
        for row in range(batch):
            cache[table[row]] = tokens[row].view(3, PAGE, key_heads, size)
            # Nobody may look behind the end of a sequence.
            cache.view(-1, key_heads, size)[_places(table[row], int(lengths[row]), 3 * PAGE)] = 1000.0
    q, k, v = normal(batch, new, heads, size), *(normal(batch, new, key_heads, size) for _ in range(2))
    wanted = []
    for row in range(batch):
        past = [tokens[row, : lengths[row]] for tokens in old]
        wanted.append(_textbook(q[row], torch.cat((past[0], k[row])), torch.cat((past[1], v[row]))))
    arguments = {"block_table": table.int(), "softmax_scale": size**-0.5, "causal": True}
    written = flash_attn_with_kvcache(q, *caches, k=k, v=v, cache_seqlens=lengths.int(), **arguments)
    # The library also calls it with keys and values that it has written itself.
    again = flash_attn_with_kvcache(q, *caches, cache_seqlens=(lengths + new).int(), **arguments)
    expected = torch.stack(wanted)
    return max(float((attended.double() - expected).abs().max()) for attended in (written, again))


def _places(pages: torch.Tensor, start: int, end: int) -> torch.Tensor:
    places = torch.arange(start, end, device=pages.device)
    return pages[places // PAGE] * PAGE + places % PAGE


def _textbook(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Returns softmax(q·kᵀ/√size)·v of one sequence, where a query sees no key after its own."""
    new, heads, size = q.shape
    keys, values = (tensor.double().repeat_interleave(heads // tensor.shape[1], dim=1) for tensor in (keys, values))
    scores = torch.einsum("qhd,khd->hqk", q.double(), keys) / size**0.5
    at = torch.arange(len(keys), device=q.device)
    later = at[None, :] > (len(keys) - new + torch.arange(new, device=q.device))[:, None]
    weights = scores.masked_fill(later[None], float("-inf")).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, values)


if __name__ == "__main__":
    os.environ["FLASH_ATTENTION_STAND_IN"] = sys.argv[1]
    print(largest_error("cuda", torch.float16))
