"""ExLlamaV2 keeps the contract of engines on a GPU: its own kernels, and flash-attn.

`make test-gpu` runs it, or by hand: TIERMESH_TEST_EXLLAMAV2_MODEL=/models/… pytest tests/torch/test_gpu.py. Any chat
model does that ExLlamaV2 can load. The other tests here stub the library's extension, so they are left out then.
"""

from __future__ import annotations

from pathlib import Path

from services.runner.engines.exllamav2 import ExLlamaV2Engine, ExLlamaV2Options
from services.runner.kinds.text.engine import TextEngine
from tests.support.answer_contract import QUESTIONS
from tests.support.engine_contract import EngineContract, job
from tests.support.recording import Recording, generate, submit
from tests.torch.conftest import GPU_MODEL

# Log probabilities of two tokens that sixteen bits do not tell apart.
ALIKE = 0.1


class TestGpu(EngineContract):
    reads_slowly = False

    @classmethod
    def build(cls, folder: Path) -> TextEngine:
        return ExLlamaV2Engine(ExLlamaV2Options(Path(GPU_MODEL), slots=4, context=1024, prefill_chunk=256))

    async def test_jobs_say_the_same_alone_and_together(self, engine: TextEngine) -> None:
        """Replaces the exact test: sums of a batch are in another order, which decides between tokens almost alike."""
        jobs = [job(engine, question, max_tokens=8, logprobs=2) for question in QUESTIONS]
        alone = [await generate(engine, each) for each in jobs]
        together = [submit(engine, each) for each in jobs]
        assert engine.active == 4
        for one, other in zip(alone, together, strict=True):
            await other.end()
            assert (one.ends, other.ends, other.late) == (1, 1, 0)
            assert until_alike(one, other)


def until_alike(one: Recording, other: Recording) -> bool:
    """Whether two answers are the same up to a token for which another one was as good."""
    for at, (token_id, another) in enumerate(zip(one.token_ids, other.token_ids, strict=False)):
        if token_id != another:
            best, second = one.logprobs[at].top
            return best.logprob - second.logprob < ALIKE
    return len(one.token_ids) == len(other.token_ids)
