"""Every engine that a machine without a GPU can run, started once for all tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.runner.engines.base import TextEngine
from services.runner.engines.llamacpp import LlamaCppEngine, find_smollm2
from services.runner.engines.simulated import SimulatedEngine
from tests.support.waiting import eventually


def build_engine(name: str) -> TextEngine:
    if name == "llamacpp":
        return LlamaCppEngine(find_smollm2(), slots=4, context=1024)
    # Slow enough to be caught in the middle of a prompt or of an answer.
    return SimulatedEngine(slots=4, context=1024, prefill_tokens_per_second=1000, tokens_per_second=200)


def healthy(engine: TextEngine) -> bool:
    # As a function, because the type checker takes a property to be constant.
    return engine.healthy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llamacpp() -> AsyncIterator[TextEngine]:
    engine = build_engine("llamacpp")
    await engine.start()
    yield engine
    await engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["simulated", "llamacpp"])
async def started(request: pytest.FixtureRequest) -> AsyncIterator[TextEngine]:
    engine = build_engine(request.param)
    await engine.start()
    yield engine
    await engine.close()


@pytest_asyncio.fixture(loop_scope="module")
async def engine(started: TextEngine) -> AsyncIterator[TextEngine]:
    """One engine after the other, with no job before and after each test."""
    assert started.active == 0
    yield started
    await eventually(lambda: started.active == 0)
