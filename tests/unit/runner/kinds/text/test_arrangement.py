"""A conversation is arranged as the chat template takes it, and nothing of it is lost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import pytest

from services.common.catalog import Model
from services.common.errors import MeshError
from services.edge.chat.call import generate_call
from services.edge.chat.request import chat_decoder
from services.edge.responses.request import parse_responses_body
from services.edge.responses.translation import translate
from services.runner.kinds.text.arrangement import arrange
from services.runner.kinds.text.conversation import read_messages
from services.runner.kinds.text.prompt.accepted import Accepted, SystemPlace
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template
from tiermesh.runner.v1.runner_pb2 import ContentPart, Message, ToolCall

_LOOP = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
# Raises as those of Qwen 3.5 do.
STRICT = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('System message must be at the beginning.') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}"
)
# Shows the first system message alone.
FORGETFUL = (
    "{% for m in messages %}{% if loop.first or m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endif %}"
    "{% endfor %}"
)
# Puts all system messages first.
COLLECTING = (
    "{% for m in messages if m.role == 'system' %}<system>{{ m.content }}{% endfor %}"
    "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}"
)
# Raises as those of Gemma 2 do.
WITHOUT = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}"
)
SILENT = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}"
NAMED = "{% for m in messages %}<{{ m.role }} {{ m.name | default('-') }}>{{ m.content }}{% endfor %}"
TEMPLATES = {"loop": _LOOP, "strict": STRICT, "forgetful": FORGETFUL, "collecting": COLLECTING, "silent": SILENT}


def system(text: str, name: str = "") -> Message:
    return Message(role="system", content=text, name=name)


def user(text: str, name: str = "") -> Message:
    return Message(role="user", content=text, name=name)


def assistant(text: str = "", *call_ids: str, name: str = "") -> Message:
    calls = [ToolCall(id=call_id, name=f"f_{call_id}", arguments="{}") for call_id in call_ids]
    return Message(role="assistant", content=text, tool_calls=calls, name=name)


def result(call_id: str, text: str = "") -> Message:
    return Message(role="tool", content=text or f"of {call_id}", tool_call_id=call_id)


def prompt(source: str, *messages: Message) -> str:
    template = ChatTemplate(source)
    return template.render(read_messages(arrange(messages, template.accepted)))


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (_LOOP, SystemPlace.ANYWHERE),
        (packaged_template("smollm2"), SystemPlace.ANYWHERE),
        (STRICT, SystemPlace.FIRST),
        (FORGETFUL, SystemPlace.FIRST),
        (COLLECTING, SystemPlace.FIRST),
        (WITHOUT, SystemPlace.NOWHERE),
        (SILENT, SystemPlace.NOWHERE),
    ],
)
def test_where_a_template_takes_a_system_message(source: str, place: SystemPlace) -> None:
    assert ChatTemplate(source).accepted.system is place


@pytest.mark.parametrize("source", ["{{ raise_exception('no') }}", "{{ messages[0].role }}", "{{ messages | length }}"])
def test_a_template_that_is_not_understood_gets_every_conversation_as_it_is(source: str) -> None:
    assert ChatTemplate(source).accepted == Accepted(SystemPlace.ANYWHERE, names=True)


@pytest.mark.parametrize("source", [_LOOP, STRICT, FORGETFUL, COLLECTING])
def test_leading_system_messages_are_one(source: str) -> None:
    assert prompt(source, system("A"), system("B"), system(""), user("Q")) == "<system>A\n\nB<user>Q"
    assert prompt(source, system("A"), user("Q")) == "<system>A<user>Q"
    assert prompt(source, user("Q")) == "<user>Q"


def test_instructions_and_a_developer_item_are_one_system_message() -> None:
    """Codex sends both with every request."""
    items = [{"role": "developer", "content": "B"}, {"role": "user", "content": "Q"}]
    sent = translate(parse_responses_body(msgspec.json.encode({"model": "m", "instructions": "A", "input": items})))
    turns = [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, items[1]]
    same = chat_decoder.decode(msgspec.json.encode({"model": "m", "messages": turns}))
    model = Model(id="m", kind="chat", tier="pro", price=1, context=100)
    for body in (sent.chat, same):
        assert prompt(STRICT, *generate_call(body, model, "r").messages) == "<system>A\n\nB<user>Q"


def test_a_later_system_message_stays_where_a_template_takes_it() -> None:
    messages = [system("A"), system("B"), user("Q"), assistant("R"), system("C"), user("S")]
    assert prompt(_LOOP, *messages) == "<system>A\n\nB<user>Q<assistant>R<system>C<user>S"


@pytest.mark.parametrize("source", [STRICT, FORGETFUL, COLLECTING])
def test_a_later_system_message_joins_the_first_one_otherwise(source: str) -> None:
    messages = [system("A"), user("Q"), assistant("R"), system("C"), user("S")]
    assert prompt(source, *messages) == "<system>A\n\nC<user>Q<assistant>R<user>S"
    assert prompt(source, user("Q"), system("C")) == "<system>C<user>Q"


@pytest.mark.parametrize("source", [WITHOUT, SILENT])
def test_without_a_system_message_the_user_says_it(source: str) -> None:
    messages = [system("A"), user("Q"), assistant("R"), system("C"), user("S")]
    assert prompt(source, *messages) == "<user>A\n\nC\n\nQ<assistant>R<user>S"
    assert prompt(source, system("A")) == "<user>A"
    assert prompt(source, user("Q")) == "<user>Q"


@pytest.mark.parametrize("source", TEMPLATES.values(), ids=TEMPLATES)
def test_no_template_loses_a_text_or_refuses_an_order(source: str) -> None:
    texts = {"system": "S{}", "user": "U{}", "assistant": "A{}"}
    for roles in itertools.product(texts, repeat=4):
        messages = [Message(role=role, content=texts[role].format(at)) for at, role in enumerate(roles)]
        shown = prompt(source, *messages)
        assert [message.content for message in messages if message.content not in shown] == []


def test_results_are_shown_in_the_order_of_their_calls() -> None:
    turn = assistant("", "a", "b", "c")
    expected = "<user>Q<assistant><tool>of a<tool>of b<tool>of c"
    for results in itertools.permutations([result("a"), result("b"), result("c")]):
        assert prompt(_LOOP, user("Q"), turn, *results) == expected


def test_results_of_each_turn_are_its_own() -> None:
    again = [assistant("1", "a", "b"), result("b", "x"), result("a", "y"), assistant("2", "b", "a"), result("a", "z")]
    assert prompt(_LOOP, user("Q"), *again, result("b", "w")) == (
        "<user>Q<assistant>1<tool>y<tool>x<assistant>2<tool>w<tool>z"
    )


def test_a_system_message_between_calls_and_results_comes_after_them() -> None:
    messages = [user("Q"), assistant("", "a", "b"), system("S"), result("b"), system("T"), result("a"), user("R")]
    assert prompt(_LOOP, *messages) == "<user>Q<assistant><tool>of a<tool>of b<system>S<system>T<user>R"


def test_a_result_has_the_name_of_its_function() -> None:
    own = Message(role="tool", content="x", tool_call_id="b", name="mine")
    assert prompt(NAMED, user("Q"), assistant("", "a", "b"), own, result("a")) == (
        "<user ->Q<assistant -><tool f_a>of a<tool mine>x"
    )


def test_images_keep_their_places() -> None:
    def seeing(role: str, call_id: str, *parts: str | bytes) -> Message:
        made = [ContentPart(text=part) if isinstance(part, str) else ContentPart(image=part) for part in parts]
        return Message(role=role, parts=made, tool_call_id=call_id)

    messages = [system("A"), seeing("system", "", b"1", "x"), user("Q"), assistant("", "a", "b")]
    messages += [seeing("tool", "b", "y", b"2"), seeing("tool", "a", b"3")]
    arranged = arrange(messages, Accepted())
    assert "".join(_seen(arranged)) == "A\n\n[1]xQ[3]y[2]"


def _seen(messages: Sequence[Message]) -> list[str]:
    """Returns the content with each image in its place."""
    parts = [part for message in messages for part in message.parts or [ContentPart(text=message.content)]]
    return [part.text or (f"[{part.image.decode()}]" if part.image else "") for part in parts]


def test_a_name_begins_the_text_where_the_template_shows_none() -> None:
    messages = [system("E", "example_user"), user("Hi", "Ann"), assistant("Hello", name="Bot"), user("Hey", "Bob")]
    assert prompt(_LOOP, *messages) == "<system>example_user: E<user>Ann: Hi<assistant>Hello<user>Bob: Hey"
    assert prompt(NAMED, *messages) == "<system example_user>E<user Ann>Hi<assistant Bot>Hello<user Bob>Hey"


def test_a_conversation_that_a_template_takes_is_left_alone() -> None:
    messages = [system("A"), user("Q", "Ann"), assistant("R"), system("B"), user("S")]
    assert arrange(messages, Accepted()) is messages


def test_a_template_still_refuses_what_no_arrangement_mends() -> None:
    with pytest.raises(MeshError, match="Roles must alternate"):
        prompt(WITHOUT, user("Q"), user("R"))
