"""Steps become the replies that the contract describes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.common.errors import Code, MeshError
from services.common.text_steps import TextStep
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.job import Job, Sampling, Step, TokenLogprob, TopLogprob
from services.runner.kinds.text.prompt.parser import OutputParser
from services.runner.kinds.text.reader import Request
from services.runner.kinds.text.writer import ReplyWriter
from tiermesh.runner.v1 import runner_pb2 as pb

JOB = Job("request", "prompt", Sampling())


def writer(job: Job = JOB, *, whole: bool = False, calls: bool = False, reasoning: bool = False) -> ReplyWriter:
    parser = None
    if calls or reasoning:
        parser = OutputParser(calls=calls, reasoning=reasoning, new_id=lambda: "call_1")
    return ReplyWriter(7, Request(job, parser, whole))


def last(text: str = "", tokens: int = 0, reason: FinishReason = FinishReason.STOP) -> Step:
    return Step(text, list(range(tokens)), [], reason, TokenCounts(10, 20, 5))


def test_plain_text_passes_through() -> None:
    subject = writer()
    assert subject.write(Step("hi", [1])) == pb.GenerateReply(id=7, text="hi", token_ids=[1])
    assert subject.write(Step()) is None
    assert subject.write(last("!", 1)) == pb.GenerateReply(
        id=7,
        text="!",
        token_ids=[0],
        finish_reason=pb.FINISH_REASON_STOP,
        usage=pb.Usage(prompt_tokens=10, completion_tokens=20, cached_tokens=5),
    )


@pytest.mark.parametrize(
    ("request_", "direct"),
    [
        (Request(JOB, None, whole=False), True),
        (Request(JOB, None, whole=True), False),
        (Request(JOB, OutputParser(calls=True, reasoning=True, new_id=lambda: "call_1"), whole=False), False),
        (Request(JOB, None, whole=False, stop=("no",)), False),
        (Request(replace(JOB, logprobs=1), None, whole=False), False),
    ],
    ids=["plain", "whole", "parsed", "stop strings", "log probabilities"],
)
def test_all_steps_of_a_call_but_the_last_are_text_steps_or_none_is(request_: Request, direct: bool) -> None:
    """A frame holds text steps before all else, so a call that mixed them would lose its order."""
    subject = ReplyWriter(7, request_, text_steps=True)
    steps = [Step("a", [1]), Step("b", [2, 3]), Step("", [4]), Step("c", []), Step()]
    written = [reply for reply in map(subject.write, steps) if reply is not None]
    assert [type(reply) is TextStep for reply in written] == [direct] * len(written)
    if direct:
        assert written == [TextStep(7, "a", [1]), TextStep(7, "b", [2, 3]), TextStep(7, "", [4]), TextStep(7, "c", [])]
    assert isinstance(subject.write(last("!", 1)), pb.GenerateReply)
    assert isinstance(writer().write(Step("a", [1])), pb.GenerateReply), "an edge that does not ask gets none"


def test_an_error() -> None:
    reply = writer().write(MeshError(Code.UNAVAILABLE, "gone"))
    assert reply is not None
    assert (reply.id, MeshError.from_proto(reply.error).code) == (7, Code.UNAVAILABLE)


def test_a_whole_answer_says_when_it_starts() -> None:
    subject = writer(whole=True)
    assert subject.write(Step("a", [1])) == pb.GenerateReply(id=7, started=True)
    assert subject.write(Step("b", [2])) is None
    reply = subject.write(last("c", 1, FinishReason.LENGTH))
    assert reply is not None
    assert (reply.text, list(reply.token_ids), reply.started) == ("abc", [1, 2, 0], True)
    assert reply.finish_reason == pb.FINISH_REASON_LENGTH


def test_log_probabilities() -> None:
    job = Job("request", "prompt", Sampling(), logprobs=1)
    entry = TokenLogprob(b"\xe6\x97", -0.5, (TopLogprob(b"a", -0.25),))
    reply = writer(job).write(Step("a", [1], [entry]))
    assert reply is not None
    assert list(reply.logprobs) == [
        pb.TokenLogprob(
            token="\ufffd",
            token_bytes=b"\xe6\x97",
            logprob=-0.5,
            top=[pb.TopLogprob(token="a", token_bytes=b"a", logprob=-0.25)],
        )
    ]


def test_tokens_wait_for_text_that_the_parser_holds_back() -> None:
    subject = writer(calls=True)
    assert subject.write(Step("a <tool", [1, 2])) is None
    reply = subject.write(Step("box>", [3]))
    assert reply is not None
    assert (reply.text, list(reply.token_ids)) == ("a <toolbox>", [1, 2, 3])


@pytest.mark.parametrize("whole", [False, True])
def test_a_call_is_the_reason_to_finish(whole: bool) -> None:
    subject = writer(calls=True, whole=whole)
    replies = [
        subject.write(step)
        for step in (
            Step('<tool_call>{"name": "f", "argu', [1]),
            Step('ments": {"a"', [2]),
            Step(": 1}", [3]),
            Step("}</tool_call>", [4]),
            last(),
        )
    ]
    deltas = [delta for reply in replies if reply is not None for delta in reply.tool_calls]
    assert [delta.id for delta in deltas if delta.id] == ["call_1"]
    assert [delta.name for delta in deltas if delta.name] == ["f"]
    assert "".join(delta.arguments for delta in deltas) == '{"a": 1}'
    assert [token for reply in replies if reply is not None for token in reply.token_ids] == [1, 2, 3, 4]
    assert replies[-1] is not None
    assert replies[-1].finish_reason == pb.FINISH_REASON_TOOL_CALLS


def test_a_call_that_was_cut_off_ends_with_length() -> None:
    subject = writer(calls=True)
    subject.write(Step('<tool_call>{"name": "f", "arguments": {"a"', [1]))
    reply = subject.write(last(reason=FinishReason.LENGTH))
    assert reply is not None
    assert reply.finish_reason == pb.FINISH_REASON_LENGTH


UNFINISHED = '<tool_call>\n{"name": "g", "arguments": {"a"'


def test_a_call_that_the_model_left_unfinished_is_none() -> None:
    subject = writer(calls=True, whole=True)
    subject.write(Step(f'<tool_call>{{"name": "f", "arguments": {{}}}}</tool_call>{UNFINISHED}', [1]))
    reply = subject.write(last())
    assert reply is not None
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("f", "{}")]
    assert (reply.text, reply.finish_reason) == (UNFINISHED, pb.FINISH_REASON_TOOL_CALLS)


def test_calls_that_are_not_all_whole_are_no_reason_to_finish() -> None:
    subject = writer(calls=True)
    reply = subject.write(Step(UNFINISHED, [1]))
    assert reply is not None
    assert reply.tool_calls[0].arguments == '{"a"'
    reply = subject.write(last())
    assert reply is not None
    assert (reply.text, reply.finish_reason) == ("", pb.FINISH_REASON_STOP)


@pytest.mark.parametrize("whole", [False, True])
def test_log_probabilities_are_of_the_content(whole: bool) -> None:
    pieces = ["<think>", "hm", "</think>\n\nI", " will", " look", ".\n", "<tool_call>\n", '{"name": "f", ']
    pieces += ['"arguments": {}}', "\n</tool_call>"]
    subject = writer(replace(JOB, logprobs=0), whole=whole, calls=True, reasoning=True)
    steps = [Step(piece, [at], [TokenLogprob(piece.encode(), -at)]) for at, piece in enumerate(pieces)]
    replies = [reply for step in (*steps, last()) if (reply := subject.write(step)) is not None]
    entries = [entry for reply in replies for entry in reply.logprobs]
    assert [(entry.token, entry.logprob) for entry in entries] == [("I", -2), (" will", -3), (" look", -4), (".", -5)]
    for reply in replies:
        assert "".join(entry.token for entry in reply.logprobs) == reply.text


SAID = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    '{"name": "f", "arguments": {',
    "}",
    "}",
    " ",
    "\n",
    "é",
    "日",
]


@given(
    st.lists(st.sampled_from(SAID) | st.text(max_size=3), max_size=20).map("".join),
    st.lists(st.integers(0, 9), max_size=40),
    st.lists(st.integers(1, 4), max_size=40),
    st.booleans(),
    st.sampled_from(FinishReason),
)
def test_the_tokens_of_the_log_probabilities_are_the_content(
    text: str, steps: list[int], tokens: list[int], whole: bool, reason: FinishReason
) -> None:
    subject = writer(replace(JOB, logprobs=0), whole=whole, calls=True, reasoning=True)
    content, data, rest = "", b"", text
    for size in (*steps, len(text)):
        piece, rest = rest[:size], rest[size:]
        raw, entries = piece.encode(), []
        for length in (*tokens, len(raw)):
            entries.append(TokenLogprob(raw[:length], -1.0))
            raw = raw[length:]
        reply = subject.write(Step(piece, [1], entries))
        if reply is not None:
            content, data = content + reply.text, data + b"".join(entry.token_bytes for entry in reply.logprobs)
    reply = subject.write(last(reason=reason))
    assert reply is not None
    content, data = content + reply.text, data + b"".join(entry.token_bytes for entry in reply.logprobs)
    assert data.decode() == content
