"""What CUDA says about this machine's GPUs."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs that this process sees; memory in bytes, summed over all."""

    names: tuple[str, ...]
    used: int
    total: int


def read_gpus() -> Gpus:
    """Returns the state now; without a GPU, nothing of everything."""
    if not torch.cuda.is_available():
        return Gpus((), 0, 0)
    devices = range(torch.cuda.device_count())
    names = tuple(map(torch.cuda.get_device_name, devices))
    try:
        memory = [torch.cuda.mem_get_info(device) for device in devices]
    except RuntimeError:
        # After some errors of CUDA every call fails until the process ends; the health check sees to that.
        return Gpus(names, 0, 0)
    total = sum(total for _, total in memory)
    return Gpus(names, total - sum(free for free, _ in memory), total)
