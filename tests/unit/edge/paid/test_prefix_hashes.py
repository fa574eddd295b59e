from typing import Any

import msgspec
import pytest

from services.common.catalog import Model
from services.edge.chat.call import generate_call
from services.edge.chat.request import chat_decoder
from services.edge.paid.prefix_hashes import FIRST_CUT, MOST_HASHES, prefix_hashes
from services.edge.responses.request import responses_decoder
from services.edge.responses.translation import translate
from tiermesh.runner.v1 import runner_pb2

MODEL = Model(id="small", kind="chat", tier="pro", price=1, context=64)
SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = {"role": "user", "content": "Hello"}
ANSWER = {"role": "assistant", "content": "Hi!"}
MORE = {"role": "user", "content": "And now?"}
CALLS = [{"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}]


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def chat(*messages: dict[str, Any], account: str = "acct_1", model: Model = MODEL, **fields: Any) -> list[int]:
    body = chat_decoder.decode(msgspec.json.encode({"model": model.id, "messages": messages, **fields}))
    images = [b"pixels"] * sum(isinstance(message["content"], list) for message in messages)
    return prefix_hashes(account, generate_call(body, model, "req_1", images=images))


def completion(text: str = "", token_ids: list[int] | None = None, account: str = "acct_1") -> list[int]:
    task = runner_pb2.CompletionTask(prompt=text, token_ids=token_ids)
    return prefix_hashes(account, runner_pb2.GenerateCall(model="small", completion=task))


def test_the_next_turn_extends_the_hashes_of_the_last() -> None:
    first = chat(SYSTEM, HELLO)
    assert len(first) == 2
    assert chat(SYSTEM, HELLO, ANSWER, MORE)[:2] == first
    assert chat(SYSTEM, HELLO, temperature=0.5, max_tokens=7, stream=True, seed=1) == first
    assert all(0 <= each < 2**64 for each in first)


def test_conversations_share_what_their_prompts_have_in_common() -> None:
    first = chat(SYSTEM, HELLO, ANSWER)
    other = chat(SYSTEM, MORE, ANSWER)
    assert first[0] == other[0]
    assert not set(first[1:]) & set(other)


@pytest.mark.parametrize(
    "other",
    [
        {"account": "acct_2"},
        {"model": Model(id="small-think", kind="chat", tier="pro", price=1, context=64)},
        {"tools": [tool("clock")]},
        {"reasoning_effort": "high"},
    ],
)
def test_what_comes_before_the_messages_parts_them_all(other: dict[str, Any]) -> None:
    assert not set(chat(SYSTEM, HELLO)) & set(chat(SYSTEM, HELLO, **other))


def test_another_system_prompt_parts_all_that_follows() -> None:
    assert not set(chat(SYSTEM, HELLO)) & set(chat({**SYSTEM, "content": "Be verbose."}, HELLO))


def test_tools_count_in_their_order_and_only_where_the_model_sees_them() -> None:
    both = [tool("clock"), tool("map")]
    first = chat(HELLO, tools=both)
    assert chat(HELLO, ANSWER, tools=both)[:1] == first
    assert chat(HELLO, tools=both, tool_choice="required") == first
    assert chat(HELLO, tools=both[::-1]) != first
    assert chat(HELLO, tools=both, tool_choice="none") == chat(HELLO)


@pytest.mark.parametrize(
    "other",
    [
        {**ANSWER, "role": "user"},
        {**ANSWER, "content": "Hi! "},
        {**ANSWER, "tool_calls": CALLS},
        {**ANSWER, "name": "Bob"},
    ],
)
def test_everything_of_a_message_counts(other: dict[str, Any]) -> None:
    assert chat(HELLO, other)[1] != chat(HELLO, ANSWER)[1]


def test_images_count() -> None:
    def call(pixels: bytes) -> runner_pb2.GenerateCall:
        part = runner_pb2.ContentPart(image=pixels)
        return runner_pb2.GenerateCall(messages=[runner_pb2.Message(role="user", parts=[part])])

    assert prefix_hashes("a", call(b"red")) == prefix_hashes("a", call(b"red"))
    assert prefix_hashes("a", call(b"red")) != prefix_hashes("a", call(b"blue"))


def test_a_message_is_not_taken_for_a_tool_or_for_two() -> None:
    as_tool = runner_pb2.GenerateCall(tools=[runner_pb2.Tool(name="user", description="Hello")])
    as_message = runner_pb2.GenerateCall(messages=[runner_pb2.Message(role="user", content="Hello")])
    for call in (as_tool, as_message):
        call.messages.add(role="user", content="More")
    assert not set(prefix_hashes("a", as_tool)) & set(prefix_hashes("a", as_message))
    assert chat({**HELLO, "content": "ab"})[-1] != chat({**HELLO, "content": "a"}, {**HELLO, "content": "b"})[-1]


def test_only_the_last_are_sent_and_they_cover_all_before() -> None:
    messages = [{"role": "user", "content": str(number)} for number in range(3 * MOST_HASHES)]
    hashes = chat(*messages)
    assert len(hashes) == len(set(hashes)) == MOST_HASHES
    shorter = chat(*messages[:-4])
    assert hashes[:-4] == shorter[4:]
    assert not set(hashes) & set(chat(MORE, *messages[1:]))


def test_responses_are_the_same_conversation() -> None:
    body = {"model": "small", "instructions": "Be brief.", "input": "Hello"}
    call = generate_call(translate(responses_decoder.decode(msgspec.json.encode(body))).chat, MODEL, "req_1")
    assert prefix_hashes("acct_1", call) == chat(SYSTEM, HELLO)


def test_texts_share_hashes_up_to_where_they_part() -> None:
    text = "".join(map(str, range(10_000)))
    start = completion(text[: 5 * FIRST_CUT])
    # Cut at once, twice and four times the first cut.
    assert len(start) == 3
    longer = completion(text)
    assert longer[:3] == start
    assert len(longer) > 3
    parting = completion(text[: 3 * FIRST_CUT] + "else" + text)
    assert parting[:2] == start[:2]
    assert not set(parting[2:]) & set(longer)
    assert completion(text[: FIRST_CUT - 1]) == []
    assert not set(completion(text, account="acct_2")) & set(longer)


def test_tokens_are_a_text_too() -> None:
    tokens = list(range(FIRST_CUT))
    hashes = completion(token_ids=tokens)
    assert len(hashes) == 3
    assert completion(token_ids=tokens[: FIRST_CUT // 2]) == hashes[:2]
    assert not set(completion(token_ids=[1, *tokens])) & set(hashes)


def test_the_longest_text_has_no_more_hashes_than_the_longest_conversation() -> None:
    assert len(completion("x" * 10_000_000)) <= MOST_HASHES
