"""Lets the library's own model, caches and paged attention run on the CPU, in 16 bits.

What is replaced is what only a GPU can do: three kernels (in `extension.py`), flash-attn (by
`tests/gpu/flash_attention.py`) and the names of torch.cuda that the library asks. So its loading, its layers and its
calls of flash-attn are real.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from exllamav2 import attn, attn_params, compat, device, embedding, ext, linear, lora, model, module

from tests.gpu import flash_attention


def pretend_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the library and the engine believe that there is one GPU, whose memory is the machine's own."""
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_name": lambda index: f"GPU {index}",
        "get_device_properties": lambda index: SimpleNamespace(major=9, minor=0),
        "mem_get_info": lambda index: (1, 2),
        "memory_allocated": lambda *_: 0,
        "synchronize": lambda *_: None,
        "empty_cache": lambda: None,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    for part in (module, device, model):
        monkeypatch.setattr(part, "_torch_device", lambda index: "cpu")
    for part in (attn_params, compat, embedding, ext, linear, lora, model, module):
        monkeypatch.setattr(part, "safe_move_tensor", lambda tensor, *_, **__: tensor)
    # One that is there is not made.
    monkeypatch.setattr(device, "global_streams", {0: None})
    monkeypatch.setattr(model, "set_device_streams", lambda: None)
    for name in ("flash_attn_func", "flash_attn_varlen_func", "flash_attn_with_kvcache"):
        monkeypatch.setattr(attn, name, getattr(flash_attention, name))
