"""The engine in front of a real llama.cpp server keeps the contract of engines, as far as a server can.

What it cannot is in the table of what is lacking, and each of these is refused before the server is asked.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.upstream.body import request_body
from services.runner.engines.upstream.kinds.base import Upstream
from services.runner.engines.upstream.kinds.chat import ChatServerEngine
from services.runner.engines.upstream.quirks import KINDS, UNKNOWN
from services.runner.engines.upstream.server import UpstreamServer
from services.runner.kinds.conversation import lacks
from services.runner.kinds.conversation.job import ConversationJob, ConversationStep
from services.runner.kinds.conversation.lacks import Differs, Refused
from services.runner.kinds.conversation.reader import ConversationReader
from services.runner.kinds.text.job import Sampling, Step
from tests.support.answer_contract import GREEDY, QUESTIONS, AnswerContract
from tests.support.conversation_contract import ConversationContract
from tests.support.counting_contract import CountingContract
from tests.support.engine_contract import EngineContract
from tests.support.llamacpp_server import LlamaCppServer
from tiermesh.runner.v1 import runner_pb2 as pb

MODEL = Model(id="model", kind="chat", tier="pro", price=10, context=1024, capabilities=("tools",))
HELLO = [pb.Message(role="user", content="Hello")]
# A call for each field that is refused whatever the server is.
CALLS: dict[Refused, dict[str, Any]] = {
    lacks.LOGPROBS: {"messages": HELLO, "logprobs": True},
    lacks.LOGIT_BIAS: {"messages": HELLO, "sampling": pb.Sampling(temperature=1, top_p=1, logit_bias={5: 1.0})},
    lacks.IMAGES: {"messages": [pb.Message(role="user", parts=[pb.ContentPart(image=b"\x89PNG")])]},
    lacks.GRAMMARS: {
        "messages": HELLO,
        "tools": [pb.Tool(name="f", parameters_json='{"type": "object"}', input_pattern="x+")],
    },
    lacks.COMPLETIONS: {"completion": pb.CompletionTask(prompt="Once")},
    lacks.COUNTS: {"messages": HELLO, "token_count": pb.TokenCountTask()},
}
# The values of what only some servers refuse.
SAMPLINGS: dict[Refused, dict[str, Any]] = {
    lacks.TOP_K: {"top_k": 40},
    lacks.MIN_P: {"min_p": 0.1},
    lacks.REPETITION_PENALTY: {"repetition_penalty": 1.1},
    lacks.SEED: {"seed": 7},
}
# Which tests of the whole suite need what is lacking.
NEED: dict[Refused | Differs, str] = {
    lacks.LOGPROBS: "log_probabilit",
    lacks.COMPLETIONS: "scored|that_scores|prompt_of_tokens",
    lacks.COUNTS: "|".join(name for name in dir(CountingContract) if name.startswith("test_")),
    lacks.RESUMING: "resumed|goes_on_at_another_runner|text_is_that_of_the_tokens|vocabulary_is_known|tokens_are_those",
    lacks.SHAPES: "grammar|shape|forced|stop_strings_see",
    lacks.STOP_STRINGS: "a_stop_string_ends|text_held_back",
    lacks.TIME_LIMIT: "an_answer_cut_short",
    lacks.CONTROL_TOKENS: "never_a_control_token",
}


class Steps:
    """The engine, with the steps that the suite knows: text without tokens."""

    def __init__(self, url: str) -> None:
        self._engine = ChatServerEngine(Upstream(url=url), slots=8, context=1024)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def submit(self, job: ConversationJob, emit: Callable[[Step | MeshError], None]) -> Any:
        def pass_on(step: ConversationStep | MeshError) -> None:
            if isinstance(step, MeshError):
                emit(step)
            elif not step.empty or step.finish_reason is not None:
                emit(Step(step.text, [], finish_reason=step.finish_reason, usage=step.usage))

        return self._engine.submit(job, pass_on)


class TestUpstream(AnswerContract):
    # The server cannot tell accounts apart, so that nothing is kept once there are two.
    keeps_prompts = False
    url: ClassVar[str]

    @classmethod
    def build(cls, folder: Path) -> Steps:
        del folder
        return Steps(cls.url)

    def job(self, engine: Any, question: str = QUESTIONS[0], **fields: Any) -> ConversationJob:
        del engine
        system = {"role": "system", "content": "You are a helpful assistant."}
        messages = [system, {"role": "user", "content": question}]
        return ConversationJob("request", messages, fields.pop("sampling", GREEDY), **fields)

    def plain_job(self, text: str) -> ConversationJob:
        return self.job(None, text)

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def started(cls, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
        async with LlamaCppServer(find_smollm2(), slots=4, context=1024) as server:
            cls.url = server.url
            engine = cls.build(tmp_path_factory.mktemp("engine"))
            await engine.start()
            assert engine.slots == 4
            yield engine
            await engine.close()


def test_every_test_of_the_suite_is_passed_or_needs_what_is_lacking() -> None:
    passed = {name for name in dir(AnswerContract) if name.startswith("test_")}
    whole = {name for suite in (EngineContract, ConversationContract, CountingContract) for name in dir(suite)}
    left = {name for name in whole if name.startswith("test_")} - passed
    for name in left:
        assert any(re.search(words, name) for words in NEED.values()), name
    for lack, words in NEED.items():
        assert any(re.search(words, name) for name in left), lack


def test_the_table_has_everything_that_is_refused() -> None:
    assert set(CALLS) == set(lacks.ALWAYS)
    assert set(SAMPLINGS) == set(lacks.BY_SERVER)
    ignored = {name for kind in KINDS for name in kind.ignored}
    assert ignored <= {lack.param for lack in lacks.BY_SERVER}
    assert set(NEED) <= {*lacks.ALWAYS, *lacks.BY_SERVER, *lacks.DIFFERENCES}


@pytest.mark.parametrize("lack", lacks.ALWAYS, ids=lambda lack: lack.what)
def test_what_servers_lack_is_refused_before_work(lack: Refused) -> None:
    sampling = pb.Sampling(temperature=1, top_p=1)
    call = pb.GenerateCall(**{"id": 7, "model": "model", "sampling": sampling, **CALLS[lack]})
    with pytest.raises(MeshError) as refusal:
        ConversationReader(1024).read(call, MODEL)
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, lack.param)
    assert lack.reason in refusal.value.message


@pytest.mark.parametrize("kind", [*KINDS, UNKNOWN], ids=lambda kind: kind.name)
@pytest.mark.parametrize("lack", lacks.BY_SERVER, ids=lambda lack: lack.what)
def test_what_one_server_lacks_is_sent_there_or_refused(lack: Refused, kind: Any) -> None:
    sampling = Sampling(**SAMPLINGS[lack])
    job = ConversationJob("request", [{"role": "user", "content": "Hello"}], sampling)
    server = UpstreamServer("http://server/v1", "model", kind)
    takes = lack.param in kind.parameters or (lack is lacks.SEED and lack.param not in kind.ignored)
    if takes:
        assert request_body(job, server)[kind.parameters.get(lack.param, lack.param)] == SAMPLINGS[lack][lack.param]
        return
    with pytest.raises(MeshError) as refusal:
        request_body(job, server)
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, lack.param)
    assert lack.reason in refusal.value.message
