"""What an engine knows of its GPUs and its cache reaches the registry, the routers and the metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from prometheus_client import CollectorRegistry

from services.common.catalog import Model
from services.common.registry import RunnerRecord
from services.runner.engines.exllamav2.gpus import Gpus, read_gpus
from services.runner.metrics import FactsCollector, KnowsFacts
from services.runner.registration import runner_record
from services.runner.settings import RunnerSettings
from services.runner.status import StatusBoard
from tests.support.recording import submit
from tests.torch.stand_in.engine import StandIn, endless, running, stand_in_engine


async def test_the_record_tells_the_size_of_the_cache(tiny_model: Path) -> None:
    model = Model(id="tiny", kind="chat", tier="pro", price=1, context=1024)
    async with running(stand_in_engine(tiny_model)) as engine:
        record = runner_record("r", "127.0.0.1:1", RunnerSettings(), [model], engine)
        assert RunnerRecord.from_json(record.to_json()) == record
        # Four slots of 1024 tokens are sixteen pages of 256; a stand-in has no GPU.
        assert (record.pages, record.gpus, record.gpu_memory) == (16, [], 0)


async def test_the_status_tells_pages_and_speed_and_asks_for_them_once_a_second(tiny_model: Path) -> None:
    now = 10.0
    stand_in = StandIn(tokens_per_second=500)
    async with running(stand_in_engine(tiny_model, stand_in, clock=lambda: now)) as engine:
        board = StatusBoard("r", engine, clock=lambda: now)
        assert (board.snapshot().pages_free, board.snapshot().tokens_per_second) == (16, 0.0)
        talking = submit(engine, endless(engine, max_tokens=300))
        await talking.tokens(5)
        assert board.snapshot().active == 1
        assert board.snapshot().pages_free == 16
        now += 1.0
        assert board.snapshot().pages_free < 16
        assert board.snapshot().tokens_per_second > 0
        talking.cancel()


async def test_metrics_tell_the_same(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model)) as engine:
        assert isinstance(engine, KnowsFacts)
        registry = CollectorRegistry()
        registry.register(FactsCollector(engine))
        assert registry.get_sample_value("tiermesh_runner_cache_pages_free") == 16
        assert registry.get_sample_value("tiermesh_runner_tokens_per_second") == 0


def test_a_gpu_that_answers_no_more_is_told_by_its_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: int) -> tuple[int, int]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (30, 80))
    assert read_gpus() == Gpus(("GPU 0",), used=50, total=80)
    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    assert read_gpus() == Gpus(("GPU 0",), used=0, total=0)
