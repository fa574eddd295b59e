"""Stands in for `exllamav2_ext`, the library's compiled extension: those of its functions that run on the CPU.

What they do is documented by their callers in exllamav2/generator/{sampler,dynamic}.py of version 0.3.2; the last three
belong to the model and are called by attn.py, rmsnorm.py and stloader.py.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy
import torch


def install() -> None:
    """Makes `import exllamav2_ext` find this module, so that the library compiles nothing."""
    module = types.ModuleType("exllamav2_ext")
    for function in (
        apply_rep_penalty,
        cache_rotate,
        count_match,
        fast_fadd_cpu,
        fast_fill_cpu_ones_bool,
        logit_filter_exclusive,
        partial_strings_match,
        rms_norm,
        rope_,
        sample_basic,
        stloader_read,
    ):
        setattr(module, function.__name__, function)
    sys.modules.setdefault("exllamav2_ext", module)


def partial_strings_match(text: Any, offsets: Any, strings: Any) -> int:
    """Returns where one of the strings begins in the text, -2 if one may have begun at its end, -1 otherwise."""
    letters = numpy.frombuffer(text, dtype=numpy.uint32).tolist() if len(text) else []
    ends = [offset // 4 for offset in numpy.frombuffer(offsets, dtype=numpy.int32).tolist()]
    every = numpy.frombuffer(strings, dtype=numpy.uint32).tolist()
    for begin, end in pairwise(ends):
        wanted = every[begin:end]
        for at in range(len(letters)):
            seen = letters[at : at + len(wanted)]
            if seen == wanted[: len(seen)]:
                return at if len(seen) == len(wanted) else -2
    return -1


def count_match(one: torch.Tensor, other: torch.Tensor, most: int) -> int:
    """Returns the length of the common beginning of two rows, shape (1, n), at most `most`."""
    length = min(int(most), one.shape[-1], other.shape[-1])
    differences = (one[0, :length] != other[0, :length]).nonzero()
    return int(differences[0]) if len(differences) else max(length, 0)


def apply_rep_penalty(
    sequence: torch.Tensor,
    penalty: float,
    sustain: int,
    decay: int,
    frequency: float,
    presence: float,
    logits: torch.Tensor,
) -> None:
    """Takes the library's own penalties off, of which the warm-up alone makes use."""
    token_ids, counts = torch.unique(sequence[0], return_counts=True)
    known = token_ids < logits.shape[-1]
    token_ids, counts = token_ids[known], counts[known]
    values = logits[0, 0, token_ids]
    values = torch.where(values > 0, values / penalty, values * penalty)
    logits[0, 0, token_ids] = values - frequency * counts - presence


def fast_fadd_cpu(target: torch.Tensor, offsets: torch.Tensor) -> None:
    target.add_(offsets)


def fast_fill_cpu_ones_bool(target: torch.Tensor) -> None:
    target.fill_(True)


def logit_filter_exclusive(mask: torch.Tensor, allowed: Sequence[Sequence[int]]) -> None:
    keep = torch.zeros_like(mask)
    for row, token_ids in enumerate(allowed):
        keep[row, torch.tensor(list(token_ids), dtype=torch.long)] = True
    mask &= keep


def cache_rotate(pages: torch.Tensor, order: torch.Tensor, buffer: torch.Tensor) -> None:
    """Moves each page of `order` to the place of the one before it, and the first one to the end.

    `pages` has a row for each page of the cache.
    """
    rows = [int(row) for row in order]
    first = pages[rows[0]].clone()
    for target, source in pairwise(rows):
        pages[target] = pages[source]
    pages[rows[-1]] = first


def sample_basic(  # noqa: PLR0917 - the library passes them by position
    logits: torch.Tensor,
    temperature: float,
    top_k: int,
    top_p: float,
    top_a: float,
    min_p: float,
    tfs: float,
    typical: float,
    random: float,
    tokens: torch.Tensor,
    probabilities: torch.Tensor,
    top_probabilities: torch.Tensor,
    top_tokens: torch.Tensor,
    allowed: torch.Tensor,
    *others: object,
) -> object:
    """Samples one token for each row: temperature, top_k, top_p and min_p; the other samplers must be off."""
    if temperature < 0.01:
        temperature, top_k = 1.0, 1
    for row in range(logits.shape[0]):
        values = logits[row, 0].double()
        if not allowed.is_meta:
            values = values.masked_fill(~allowed[row], float("-inf"))
        chances, token_ids = torch.softmax(values / temperature, -1).sort(descending=True)
        kept = len(chances)
        if 0 < top_k < kept:
            kept = top_k
        if 0.0 < top_p < 1.0:
            kept = min(kept, int((chances.cumsum(0) < top_p).sum()) + 1)
        if 0.0 < min_p < 1.0:
            kept = min(kept, int((chances >= chances[0] * min_p).sum()))
        chances = chances[:kept] / chances[:kept].sum()
        at = min(int((chances.cumsum(0) < random).sum()), kept - 1)
        tokens[row, 0], probabilities[row, 0] = token_ids[at], chances[at]
    return others[1]


def stloader_read(file_name: str, offset: int, size: int, target: torch.Tensor) -> None:
    """Fills a tensor with the bytes of a file."""
    with Path(file_name).open("rb") as file:
        file.seek(offset)
        content = bytearray(file.read(size))
    target.copy_(torch.frombuffer(content, dtype=target.dtype).view_as(target))


def rms_norm(states: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, epsilon: float) -> None:
    """Writes the normalised rows to `target`."""
    values = states.float()
    target.copy_(values * torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + epsilon) * weight.float())


def rope_(
    states: torch.Tensor,
    sine: torch.Tensor,
    cosine: torch.Tensor,
    past: int,
    heads: int,
    head_size: int,
    offsets: torch.Tensor,
    halves: bool,
) -> None:
    """Turns states, shape (batch, tokens, heads, size), by their positions, which begin at `past` plus the offset."""
    assert halves, "the other form of rotary embeddings is not needed here"
    assert states.dtype is sine.dtype is cosine.dtype is torch.half
    assert offsets.dtype is torch.int32
    for row, offset in zip(states, offsets.tolist(), strict=True):
        places = slice(past + offset, past + offset + len(row))
        sines, cosines = (table[0, 0, places, None].float() for table in (sine, cosine))
        first, second = row.float().chunk(2, dim=-1)
        row.copy_(row.float() * cosines + torch.cat((-second, first), dim=-1) * sines)
