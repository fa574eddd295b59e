"""The llama.cpp engine, started once for all tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.llamacpp import LlamaCppEngine
from services.runner.kinds.text.engine import TextEngine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llamacpp() -> AsyncIterator[TextEngine]:
    engine = LlamaCppEngine(find_smollm2(), slots=4, context=1024)
    await engine.start()
    yield engine
    await engine.close()
