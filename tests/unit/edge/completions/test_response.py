"""What is rendered is what OpenAI's own types accept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Completion

from services.common.errors import Code, MeshError
from services.edge.chat.response import DONE
from services.edge.completions.response import CompletionRenderer
from services.edge.paid.hold import Receipt
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateReply

USAGE = runner_pb2.Usage(prompt_tokens=7, completion_tokens=3)


def renderer(
    *,
    echo: tuple[str, ...] = (),
    prompts: int = 1,
    logprobs: bool = False,
    usage: bool = False,
    scored: bool = False,
) -> Any:
    return CompletionRenderer(
        "cmpl-1", "tiermesh-pro", 1700000000, prompts=prompts, echo=echo, logprobs=logprobs, usage=usage, scored=scored
    )


def finished(text: str = "", **fields: Any) -> GenerateReply:
    return GenerateReply(text=text, finish_reason=runner_pb2.FINISH_REASON_LENGTH, usage=USAGE, **fields)


def logprob(token: str, *others: str) -> runner_pb2.TokenLogprob:
    top = [runner_pb2.TopLogprob(token=other, token_bytes=other.encode(), logprob=-0.25) for other in others]
    return runner_pb2.TokenLogprob(token=token, token_bytes=token.encode(), logprob=-0.5, top=top)


def chunks(data: bytes) -> list[dict[str, Any]]:
    assert data.endswith(b"\n\n")
    return [json.loads(event.removeprefix(b"data: ")) for event in data.removesuffix(DONE).split(b"\n\n")[:-1]]


def test_a_whole_body_counts_every_prompt_once() -> None:
    body = renderer(prompts=2).body([finished("a"), finished("b"), finished("c"), finished("d")])
    completion = Completion.model_validate_json(body, strict=True)
    assert [(choice.index, choice.text, choice.finish_reason) for choice in completion.choices] == [
        (0, "a", "length"), (1, "b", "length"), (2, "c", "length"), (3, "d", "length"),
    ]  # fmt: skip
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (14, 12)


def test_an_echo_comes_before_the_text() -> None:
    body = renderer(echo=("x", "y"), prompts=2).body([finished("a"), finished("b")])
    assert [choice["text"] for choice in json.loads(body)["choices"]] == ["xa", "yb"]
    first = chunks(renderer(echo=("x", "y"), prompts=2).open())
    assert [chunk["choices"][0]["text"] for chunk in first] == ["x", "y"]
    assert renderer().open() == b""


def test_logprobs_have_their_old_form_with_offsets_into_the_text() -> None:
    reply = finished("Hi you", logprobs=[logprob("Hi", "Hi", "Ho"), logprob(" you", " me")])
    logprobs = Completion.model_validate_json(renderer(logprobs=True).body([reply]), strict=True).choices[0].logprobs
    assert logprobs is not None
    assert (logprobs.tokens, logprobs.token_logprobs, logprobs.text_offset) == (["Hi", " you"], [-0.5, -0.5], [0, 2])
    # The chosen token is always among the alternatives.
    assert logprobs.top_logprobs == [{"Hi": -0.25, "Ho": -0.25}, {" me": -0.25, " you": -0.5}]


def test_tokens_that_make_one_character_together_are_bytes_and_count_as_one() -> None:
    parts = [
        runner_pb2.TokenLogprob(
            token="\ufffd", token_bytes=part, top=[runner_pb2.TopLogprob(token="\ufffd", token_bytes=b"\xa6")]
        )
        for part in (b"\xe6\x97", b"\xa5")
    ]
    body = renderer(logprobs=True).body([finished("日!", logprobs=[*parts, logprob("!")])])
    logprobs = Completion.model_validate_json(body, strict=True).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == [r"bytes:\xe6\x97", r"bytes:\xa5", "!"]
    assert logprobs.text_offset == [0, 0, 1]
    assert logprobs.top_logprobs is not None
    assert list(logprobs.top_logprobs[0]) == [r"bytes:\xa6", r"bytes:\xe6\x97"]


@pytest.mark.parametrize("echo", [(), ("",), ("Hi you",)])
def test_the_scores_of_the_prompt_come_before_those_of_the_text(echo: tuple[str, ...]) -> None:
    scores = [logprob("Hi"), logprob(" you", " me")]
    reply = finished("!", prompt_logprobs=scores, logprobs=[logprob("!", "!")])
    (choice,) = json.loads(renderer(echo=echo, logprobs=True, scored=True).body([reply]))["choices"]
    assert choice["text"] == "Hi you!"
    assert choice["logprobs"] == {
        "tokens": ["Hi", " you", "!"],
        "token_logprobs": [None, -0.5, -0.5],
        "top_logprobs": [None, {" me": -0.25, " you": -0.5}, {"!": -0.25}],
        "text_offset": [0, 2, 6],
    }


def test_an_answer_whose_prompt_was_not_scored_in_time_is_an_error() -> None:
    with pytest.raises(MeshError) as caught:
        renderer(echo=("Hi",), logprobs=True, scored=True).body([finished("!")])
    assert caught.value.code is Code.DEADLINE_EXCEEDED


def test_offsets_go_on_from_chunk_to_chunk_for_each_choice() -> None:
    stream = renderer(logprobs=True)
    data = stream.step(0, GenerateReply(text="Hi", logprobs=[logprob("Hi")]))
    data += stream.step(1, GenerateReply(text="Yo", logprobs=[logprob("Yo")]))
    data += stream.step(0, GenerateReply(text="!", logprobs=[logprob("!")]))
    assert [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks(data)] == [[0], [0], [2]]


def test_a_stream_ends_with_the_reasons_the_usage_and_the_mark() -> None:
    stream = renderer(usage=True)
    (first,) = chunks(stream.step(0, GenerateReply(text="a")))
    assert (first["choices"][0]["finish_reason"], first["usage"]) == (None, None)
    end = stream.end({0: finished()}, Receipt(10, 90))
    assert end.endswith(DONE)
    last, usage = chunks(end)
    assert (last["choices"][0]["text"], last["choices"][0]["finish_reason"]) == ("", "length")
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 10)
    assert usage["tiermesh"] == {"credits_charged": 10, "credits_remaining": 90}
    Completion.model_validate(usage, strict=True)


def test_without_usage_no_chunk_mentions_it() -> None:
    stream = renderer()
    assert "usage" not in chunks(stream.step(0, GenerateReply(text="a")))[0]
    assert len(chunks(stream.end({0: finished()}, Receipt(10, 90)))) == 1


def test_a_step_without_text_is_no_chunk_and_an_error_is_one() -> None:
    assert renderer().step(0, GenerateReply(token_ids=[1])) == b""
    (error,) = chunks(renderer().error(MeshError(Code.UNAVAILABLE, "gone")))
    assert error["error"]["code"] == "service_unavailable"
