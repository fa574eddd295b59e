"""What clients write is never read as a control token, whatever the model and whichever the field."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.catalog import Model
from services.runner.kinds.text.job import Job
from services.runner.kinds.text.prompt.controls import ControlTexts, control_texts
from services.runner.kinds.text.prompt.marks import MARKS
from services.runner.kinds.text.prompt.template import ChatTemplate
from services.runner.kinds.text.reader import RequestReader
from tests.support.model_families import FAMILIES, Family
from tiermesh.runner.v1 import runner_pb2 as pb

MODEL = Model(id="model", kind="chat", tier="pro", price=10, context=2048, capabilities=("tools", "vision"))
READERS = {}
for family in FAMILIES:
    known = ControlTexts(control_texts(family.controls, family.others, family.template))
    READERS[family.name] = RequestReader(
        ChatTemplate(family.template, controls=known), controls=known, detokenize=str, new_call_id=str
    )
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def tokens(family: Family, texts: list[list[str]]) -> Iterator[str]:
    """Yields the control tokens in a prompt, as a tokenizer reads its pieces: from the left, the longest first."""
    known = sorted({*family.controls, *family.others}, key=len, reverse=True)
    for text in (piece for part in texts for piece in part):
        at = 0
        while at < len(text):
            found = next((token for token in known if text.startswith(token, at)), "")
            if found in known and not found.isspace() and found not in {"<table>", "</table>", "<b>"}:
                yield found
            at += len(found) or 1


def job(family: Family, words: list[str]) -> Job:
    """Returns the job of a conversation with these words in all of its fields; there are nine of them."""
    system, user, name, said, thought, key, value, result, described = words
    schema = {
        "type": "object",
        "description": described,
        "properties": {"x" + key: {"type": "string", "enum": [value], "default": result}, key: {"type": "string"}},
    }
    call = pb.GenerateCall(
        sampling=pb.Sampling(temperature=1, top_p=1),
        messages=[
            pb.Message(role="system", content=system),
            pb.Message(role="user", content=user, name=name),
            pb.Message(
                role="assistant",
                content=said,
                reasoning_content=thought,
                tool_calls=[
                    pb.ToolCall(id="call_1", name="f", arguments=json.dumps({key: value, value: [key]})),
                    pb.ToolCall(id="call_2", name=name, arguments=value),
                ],
            ),
            pb.Message(role="tool", tool_call_id="call_1", content=result, name=name),
            pb.Message(role="user", parts=[pb.ContentPart(text=user), pb.ContentPart(text=result)]),
        ],
        tools=[pb.Tool(name="f", description=described, parameters_json=json.dumps(schema))],
    )
    return READERS[family.name].read(call, MODEL).job


def fragments(family: Family) -> st.SearchStrategy[str]:
    """Returns texts of control tokens, of their parts, and of what stands around them in templates."""
    texts = (*family.controls, *family.others, *MARKS)
    whole = st.sampled_from(texts)
    parts = whole.flatmap(
        lambda text: st.integers(0, len(text)).flatmap(lambda at: st.sampled_from([text[:at], text[at:]]))
    )
    inner = whole.map(lambda text: text.strip("<>[]|/"))
    return st.lists(st.one_of(whole, parts, inner, st.text(max_size=3)), max_size=5).map("".join)


@each_family
def test_no_field_can_hold_a_control_token(family: Family) -> None:
    expected = list(tokens(family, job(family, [f"word{at}" for at in range(9)]).prompt_pieces))
    assert set(expected) & set(family.controls)
    for text in (*family.controls, *(text for text in family.others if text in family.template)):
        prompt = job(family, [f"a{text}b{at}" for at in range(9)])
        assert prompt.prompt.count(text) > expected.count(text)
        assert list(tokens(family, prompt.prompt_pieces)) == expected


@each_family
@settings(max_examples=20)
@given(data=st.data())
def test_no_words_become_control_tokens(family: Family, data: st.DataObject) -> None:
    words = data.draw(st.lists(fragments(family), min_size=9, max_size=9))
    plain = [f"word{at}" if text.strip() else text for at, text in enumerate(words)]
    found = job(family, words)
    assert "".join(map("".join, found.prompt_pieces)) == found.prompt
    assert list(tokens(family, found.prompt_pieces)) == list(tokens(family, job(family, plain).prompt_pieces))


@each_family
@settings(max_examples=20)
@given(data=st.data())
def test_a_text_to_continue_is_plain(family: Family, data: st.DataObject) -> None:
    text = data.draw(fragments(family).filter(bool))
    call = pb.GenerateCall(sampling=pb.Sampling(temperature=1, top_p=1), completion=pb.CompletionTask(prompt=text))
    found = READERS[family.name].read(call, MODEL).job
    assert found.prompt == text
    assert not list(tokens(family, found.prompt_pieces))


@each_family
def test_other_prompts_are_as_they_were(family: Family) -> None:
    words = ["Hello <b>you</b> | [1] <", "> a", "<table>", "}", "{{ x }}", "k\n\n", '"', "\\", "x < y > z"]
    found = job(family, words)
    assert found.cuts == ()
    assert found.prompt_pieces == [[found.prompt]]
    plain = RequestReader(ChatTemplate(family.template), detokenize=str, new_call_id=str)
    READERS["plain"] = plain
    without = job(Family("plain", (), (), ""), words)
    assert without.prompt == found.prompt
