"""ExLlamaV2 keeps the contract of engines: its real generator, over the stand-in for a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from services.runner.kinds.text.engine import TextEngine
from tests.support.conversation_contract import ConversationContract
from tests.support.counting_contract import CountingContract
from tests.support.engine_contract import EngineContract
from tests.torch.stand_in.checkpoint import END, END_OF_TURN, write_checkpoint
from tests.torch.stand_in.engine import StandIn, stand_in_engine


class TestStandIn(EngineContract, ConversationContract, CountingContract):
    talkative: ClassVar[dict[int, float]] = {END: -100, END_OF_TURN: -100}

    @classmethod
    def build(cls, folder: Path) -> TextEngine:
        # Slow enough to be caught in the middle of a prompt or of an answer.
        return stand_in_engine(write_checkpoint(folder / "tiny"), StandIn(tokens_per_second=1000))
