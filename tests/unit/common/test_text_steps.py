"""Text steps arrive as they were sent, before all else of their frame; a frame that does not add up is no frame."""

from __future__ import annotations

import random

import pytest
from google.protobuf.descriptor import FieldDescriptor

from services.common.text_steps import AnyReply, TextStep, pack, unpack
from tiermesh.runner.v1.runner_pb2 import FINISH_REASON_STOP, GenerateReply, GenerateResponse, TextSteps


def sent(replies: list[AnyReply]) -> list[AnyReply]:
    """Returns what arrives of a frame."""
    return list(unpack(GenerateResponse.FromString(pack(replies=replies, draining=False).SerializeToString())))


@pytest.mark.parametrize("seed", range(20))
def test_each_call_gets_its_steps_in_their_order(seed: int) -> None:
    drawn = random.Random(seed)
    most_tokens = drawn.choice([1, 1, 3])
    replies: list[AnyReply] = []
    expected: dict[int, list[AnyReply]] = {}
    calls = list(range(1, drawn.randrange(2, 8)))
    while calls and len(replies) < 40:
        call_id = drawn.choice(calls)
        reply: AnyReply
        if drawn.random() < 0.2:
            # The last reply of a call, or an error, or a call without text steps.
            reply = GenerateReply(id=call_id, finish_reason=FINISH_REASON_STOP, text="end")
            calls.remove(call_id)
        else:
            count = most_tokens if most_tokens == 1 else drawn.randrange(most_tokens + 1)
            tokens = [drawn.randrange(2**32) for _ in range(count)]
            reply = TextStep(call_id, drawn.choice(["", "word", "\u20ac \U0001f600"]), tokens)
        replies.append(reply)
        expected.setdefault(call_id, []).append(reply)
    arrived: dict[int, list[AnyReply]] = {}
    for reply in sent(replies):
        arrived.setdefault(reply.id, []).append(reply)
    assert arrived == expected


def test_a_frame_without_text_steps_is_as_it_was() -> None:
    replies = [GenerateReply(id=1, text="a"), GenerateReply(id=2, reasoning="b")]
    frame = pack(replies=replies, draining=True)
    assert frame == GenerateResponse(replies=replies, draining=True)
    assert sent([*replies]) == replies
    assert sent([]) == []


@pytest.mark.parametrize(
    "columns",
    [
        TextSteps(ids=[1, 2], texts=["a"], token_ids=[5, 6]),
        TextSteps(ids=[1], texts=["a", "b"], token_ids=[5]),
        TextSteps(ids=[1], texts=["a"]),
        TextSteps(ids=[1], texts=["a"], token_ids=[5, 6]),
        TextSteps(ids=[1], texts=["a"], token_counts=[1], token_ids=[5, 6]),
        TextSteps(ids=[1, 2], texts=["a", "b"], token_counts=[2, 2], token_ids=[5, 6, 7]),
        TextSteps(ids=[1, 2], texts=["a", "b"], token_counts=[2], token_ids=[5, 6]),
        TextSteps(ids=[1], texts=["a"], token_counts=[2**32 - 1], token_ids=[5]),
    ],
)
def test_a_frame_that_does_not_add_up_is_refused(columns: TextSteps) -> None:
    with pytest.raises(ValueError, match="different lengths"):
        unpack(GenerateResponse(text_steps=columns))


def test_a_text_step_has_every_other_field_of_a_reply_empty() -> None:
    """The readers of a step do not have to know which of the two it is."""
    step, empty = TextStep(1, "a", [5]), GenerateReply()
    for field in GenerateReply.DESCRIPTOR.fields:
        if field.name in {"id", "text", "token_ids"}:
            continue
        value = getattr(step, field.name)
        if field.is_repeated:
            assert not value
            continue
        assert value == getattr(empty, field.name)
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            assert not step.HasField(field.name)
    assert TextStep(1, "", [5]).ByteSize() > 0
