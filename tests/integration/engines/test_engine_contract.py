"""The engines that need neither a GPU nor torch keep the contract; tests/torch holds ExLlamaV2 to it."""

from __future__ import annotations

from pathlib import Path

from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.llamacpp import LlamaCppEngine
from services.runner.engines.simulated import SimulatedEngine
from services.runner.kinds.text.engine import TextEngine
from tests.support.conversation_contract import ConversationContract
from tests.support.counting_contract import CountingContract
from tests.support.engine_contract import EngineContract


class TestSimulated(EngineContract, ConversationContract, CountingContract):
    has_control_tokens = False
    keeps_prompts = False

    @classmethod
    def build(cls, folder: Path) -> TextEngine:
        # Slow enough to be caught in the middle of a prompt or of an answer.
        return SimulatedEngine(slots=4, context=1024, prefill_tokens_per_second=1000, tokens_per_second=200)


class TestLlamaCpp(EngineContract, ConversationContract, CountingContract):
    resumes_seeds = False

    @classmethod
    def build(cls, folder: Path) -> TextEngine:
        return LlamaCppEngine(find_smollm2(), slots=4, context=1024)
