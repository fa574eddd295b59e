"""The JSON texts of one call are read as long as they hold no more than anybody should read."""

from __future__ import annotations

import pytest

from services.common.errors import MeshError
from services.common.limits.json_counts import LEAST_BYTES, MOST_COUNTS
from services.runner.kinds.text.conversation import read_messages, read_toolbox
from services.runner.kinds.text.json_texts import JsonTexts
from tiermesh.runner.v1 import runner_pb2

MUCH = '{"a":[' + ",".join(["[]"] * (MOST_COUNTS.containers + 1)) + "]}"
# Each of these is small, but not all together.
LITTLE = '{"a":[' + ",".join(["[]"] * 20_000) + "]}"


def test_objects_are_read_and_nothing_else() -> None:
    texts = JsonTexts()
    assert texts.read_object('{"a":[1]}') == {"a": [1]}
    for text in ("[1]", "{", "", '{"a":"\\ud800"}', '{"a":' * 2000 + "1" + "}" * 2000):
        assert texts.read_object(text) is None


def test_one_text_of_too_much_is_not_read() -> None:
    assert len(MUCH) > LEAST_BYTES
    assert JsonTexts().read_object(MUCH) is None


def test_all_texts_together_have_a_bound() -> None:
    texts = JsonTexts()
    assert len(LITTLE) < LEAST_BYTES
    read = [texts.read_object(LITTLE) for _ in range(5)]
    # The first was small enough not to be counted.
    assert [value is not None for value in read] == [True, True, True, False, False]


def test_arguments_of_too_much_stay_a_text() -> None:
    call = runner_pb2.ToolCall(id="1", name="f", arguments=MUCH)
    (message,) = read_messages([runner_pb2.Message(role="assistant", tool_calls=[call])])
    assert message["tool_calls"][0]["function"]["arguments"] == {"arguments": MUCH}


def test_tools_of_too_much_are_refused() -> None:
    call = runner_pb2.GenerateCall(tools=[runner_pb2.Tool(name="f", parameters_json=MUCH)])
    with pytest.raises(MeshError) as refusal:
        read_toolbox(call)
    assert refusal.value.param == "tools[0].function.parameters"
