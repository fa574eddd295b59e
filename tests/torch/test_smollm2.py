"""A real model, loaded from a real directory: what it says shows that tokens, positions and pages are right."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch

from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.llamacpp.vocabulary import Vocabulary
from services.runner.kinds.text.engine import TextEngine
from services.runner.kinds.text.prompt.template import packaged_template
from tests.support.engine_contract import job
from tests.support.recording import generate
from tests.torch.stand_in.engine import StandIn, running, stand_in_engine
from tests.torch.stand_in.smollm2 import convert_smollm2

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def smollm2(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TextEngine]:
    folder = tmp_path_factory.mktemp("models") / "smollm2"
    convert_smollm2(find_smollm2(), folder, packaged_template("smollm2"))
    try:
        async with running(stand_in_engine(folder, StandIn(dtype=torch.float32))) as engine:
            yield engine
    finally:
        # pytest would keep it for three runs more.
        shutil.rmtree(folder)


async def test_it_knows_the_capital_of_france(smollm2: TextEngine) -> None:
    answer = await generate(smollm2, job(smollm2, max_tokens=12, logprobs=2))
    assert "Paris" in answer.text
    # "Paris" is not said by chance.
    assert max(entry.logprob for entry in answer.logprobs) > -0.1


async def test_its_tokens_are_those_of_llama_cpp(smollm2: TextEngine) -> None:
    other = Vocabulary(Path(find_smollm2()))
    for token_id in (0, 2, 17, 314, 7042, 115, 20_000, len(other.pieces) - 1):
        assert smollm2.detokenize([token_id]) == other.text([token_id])
