"""An answer that is cut and continued elsewhere: the same usage wherever it was cut, and only on the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.text_digest import text_digest
from services.common.text_steps import AnyReply
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.job import Step
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template
from services.runner.kinds.text.reader import RequestReader
from services.runner.kinds.text.vocabulary_digest import vocabulary_digest
from services.runner.kinds.text.writer import ReplyWriter
from tiermesh.runner.v1 import runner_pb2 as pb

PIECES = [
    b"<think>", b"</think>", b"<", b"think", b"</", b">", b" ", b"\n", b"hm", b"so", b" be", b"it", b"<thinks>",
    "\N{ROCKET}".encode()[:1], "\N{ROCKET}".encode()[1:3], "\N{ROCKET}".encode()[3:], b"\xff",
]  # fmt: skip
VOCABULARY = vocabulary_digest(PIECES)
THINKER = Model(id="thinker", kind="chat", tier="pro", price=10, context=2048, reasoning=True)
OPENED = "{% for message in messages %}{{ message.content }}{% endfor %}<think>"
TOKENS = st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=24)
# An answer that thinks, in which all that can be cut is cut sooner or later.
THOUGHT = st.builds(
    lambda opening, thought, closing, rest: [*opening, *thought, *closing, *rest],
    st.sampled_from([[0], [2, 3, 5], [6, 0], [2, 3, 5, 6]]),
    st.lists(st.integers(6, len(PIECES) - 1), max_size=8),
    st.sampled_from([[1], [4, 3, 5], [6, 1, 6], []]),
    st.lists(st.integers(6, len(PIECES) - 1), max_size=8),
)


def detokenize(token_ids: Sequence[int]) -> str:
    return b"".join(PIECES[token_id] for token_id in token_ids).decode(errors="replace")


def call(*, resumed: Sequence[int] = (), text: str = "", vocabulary: str = VOCABULARY) -> pb.GenerateCall:
    return pb.GenerateCall(
        id=1,
        model="thinker",
        messages=[pb.Message(role="user", content="hi")],
        sampling=pb.Sampling(temperature=1, top_p=1),
        resume_token_ids=resumed,
        resume_vocabulary=vocabulary,
        resume_text_digest=text_digest(text),
    )


@cache
def reader(template: str) -> RequestReader:
    return RequestReader(
        ChatTemplate(template), detokenize=detokenize, new_call_id=lambda: "call_1", vocabulary=VOCABULARY
    )


def writer(asked: pb.GenerateCall, template: str) -> ReplyWriter:
    return ReplyWriter(1, reader(template).read(asked, THINKER))


def steps(token_ids: Sequence[int], sizes: Sequence[int]) -> list[Step]:
    """Returns steps of so many tokens, of which each ends with a whole character if there is one."""
    made, group = [], []
    size = iter([*sizes, *[1] * len(token_ids)])
    wanted = next(size, 1)
    for token_id in token_ids:
        group.append(token_id)
        if len(group) >= wanted and (not detokenize(group).endswith("\ufffd") or len(group) > 4):
            made.append(Step(detokenize(group), group))
            group, wanted = [], next(size, 1)
    return [*made, Step(detokenize(group), group)] if group else made


def run(subject: ReplyWriter, made: Sequence[Step], tokens: int) -> list[AnyReply]:
    end = Step("", [], [], FinishReason.STOP, TokenCounts(1, tokens))
    return [reply for step in (*made, end) if (reply := subject.write(step)) is not None]


def shown(replies: Sequence[AnyReply]) -> str:
    return "".join(reply.reasoning + reply.text for reply in replies)


@pytest.mark.parametrize("template", [packaged_template("smollm2"), OPENED], ids=["closed", "opened"])
@given(token_ids=st.one_of(TOKENS, THOUGHT), sizes=st.lists(st.integers(1, 4), max_size=12))
def test_usage_is_a_function_of_the_answer(template: str, token_ids: list[int], sizes: list[int]) -> None:
    whole = run(writer(call(), template), steps(token_ids, []), len(token_ids))
    reasoning = whole[-1].usage.reasoning_tokens
    # It does not matter how many tokens come with one step,
    grouped = run(writer(call(), template), steps(token_ids, sizes), len(token_ids))
    assert grouped[-1].usage.reasoning_tokens == reasoning
    # nor at which of the replies another runner went on.
    delivered: list[int] = []
    text = ""
    for reply in whole[:-1]:
        delivered += reply.token_ids
        text += reply.reasoning + reply.text
        resumed = writer(call(resumed=delivered, text=text), template)
        rest = run(resumed, steps(token_ids[len(delivered) :], []), len(token_ids))
        assert rest[-1].usage.reasoning_tokens == reasoning
        assert text + shown(rest) == shown(whole)


@pytest.mark.parametrize(
    ("text", "vocabulary"),
    [("so be it", "another"), ("so be it", ""), ("so be", VOCABULARY), ("", VOCABULARY), ("hm be it", VOCABULARY)],
)
async def test_tokens_that_mean_something_else_here_are_not_continued(text: str, vocabulary: str) -> None:
    resumed = [9, 10, 6, 11]
    assert detokenize(resumed) == "so be it"
    template = packaged_template("smollm2")
    writer(call(resumed=resumed, text="so be it"), template)
    with pytest.raises(MeshError) as caught:
        writer(call(resumed=resumed, text=text, vocabulary=vocabulary), template)
    # For this code no other runner is tried, and none is taken out of service.
    assert caught.value.code is Code.CANCELLED


def test_a_vocabulary_is_what_its_tokens_spell() -> None:
    assert vocabulary_digest([*PIECES, b"", b""]) == VOCABULARY
    assert vocabulary_digest([b"", *PIECES]) != VOCABULARY
    assert vocabulary_digest([b"ab", b"c"]) != vocabulary_digest([b"a", b"bc"])
    assert vocabulary_digest([b"a", b"", b"b"]) != vocabulary_digest([b"a", b"b"])
    assert vocabulary_digest(PIECES[::-1]) != VOCABULARY
