"""ExLlamaV2 keeps the contract of engines on a GPU: its own kernels, and flash-attn.

`make test-gpu` runs it, or by hand: TIERMESH_TEST_EXLLAMAV2_MODEL=/models/… pytest tests/torch/test_gpu.py. Any chat
model does that ExLlamaV2 can load. The other tests here stub the library's extension, so they are left out then.
"""

from __future__ import annotations

from pathlib import Path

from services.runner.engines.base import TextEngine
from services.runner.engines.exllamav2 import ExLlamaV2Engine, ExLlamaV2Options
from tests.support.engine_contract import EngineContract
from tests.torch.conftest import GPU_MODEL


class TestGpu(EngineContract):
    reads_slowly = False

    @classmethod
    def build(cls, folder: Path) -> TextEngine:
        return ExLlamaV2Engine(ExLlamaV2Options(Path(GPU_MODEL), slots=4, context=1024, prefill_chunk=256))
