"""The readers of all formats: calls come out exactly, however they are cut, and what is no call stays content."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runner.kinds.text.prompt.formats import FORMATS, CallReader
from services.runner.kinds.text.prompt.output import ParsedText
from tests.unit.runner.prompt.said import Said, cut, parse

NAMES = ("get_weather", "get_time")
ARGUMENTS = '{"city": "Paris }];\\"", "n": [1, {}]}'
SIZES = [1, 2, 3, 7, 1000]
# Those with a table here; the others have one in tests/unit/runner/kinds/text/prompt/formats/families/.
STREAMED = ("hermes", "llama", "mistral", "mistral-args")
WEATHER, TIME = ("get_weather", ARGUMENTS), ("get_time", "{}")


def reader(name: str) -> CallReader:
    ids = itertools.count(1)
    return FORMATS[name].reader({key: {} for key in NAMES}, lambda: f"call_{next(ids)}")


def read(name: str, text: str, size: int = 1) -> Said:
    said = parse(cut(text, size), reader(name))
    assert [call[0] for call in said.calls.values()] == [f"call_{at + 1}" for at in range(len(said.calls))]
    return said


def hermes(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def llama(name: str, arguments: str) -> str:
    return f'{{"name": "{name}", "parameters": {arguments}}}'


def mistral(name: str, arguments: str) -> str:
    return f'{{"name": "{name}", "arguments": {arguments}}}'


# Format, text, content, calls.
ANSWERS = [
    ("hermes", hermes(*WEATHER), "", [WEATHER]),
    ("hermes", f"Let me see.\n{hermes(*WEATHER)}\n{hermes(*TIME)}\n", "Let me see.", [WEATHER, TIME]),
    # Several calls between two tags, tags that were forgotten, words after a call, and tags without a call.
    ("hermes", hermes(*WEATHER).replace("\n</", f"\n{mistral(*TIME)}\n</"), "", [WEATHER, TIME]),
    ("hermes", f"<tool_call>\n{mistral(*WEATHER)}\n{hermes(*TIME)}", "", [WEATHER, TIME]),
    ("hermes", f"<tool_call>\n{mistral(*TIME)}\nI have called it.", "\nI have called it.", [TIME]),
    ("hermes", f"<tool_call>{mistral(*TIME)} It </b> is.\n</tool_call> Or not.", " It </b> is. Or not.", [TIME]),
    ("hermes", f"<tool_call>{mistral(*TIME)} So {hermes(*WEATHER)}", " So", [TIME, WEATHER]),
    ("hermes", f'<tool_call>{mistral(*TIME)}\n{{"a": 1}}\n</tool_call>', '\n{"a": 1}', [TIME]),
    ("hermes", f"Use the <tool_call> tag: {hermes(*TIME)}", "Use the <tool_call> tag:", [TIME]),
    ("hermes", f'<tool_call>{{"nam {hermes(*TIME)}', '<tool_call>{"nam', [TIME]),
    ("hermes", f'<tool_call>{mistral(*TIME)[:-1]}, "id": "}}</tool_call>"}} x</tool_call>', " x", [TIME]),
    ("hermes", f"<tool_call>{mistral(*TIME)[:-1]}, and so on.", ", and so on.", [TIME]),
    ("hermes", f"<tool_call>\n{mistral(*TIME)[:-1]}\n</tool_call>", "", [TIME]),
    ("hermes", '<tool_call>{"arguments": {"a": "</tool_call>"}, "name": "f"}', "", [("f", '{"a": "</tool_call>"}')]),
    # A function without parameters.
    ("hermes", hermes("get_time", "null"), "", [TIME]),
    ("hermes", '<tool_call>{"name": "get_time"}</tool_call>', "", [TIME]),
    ("hermes", hermes("f", json.dumps(ARGUMENTS)), "", [("f", ARGUMENTS)]),
    ("llama", llama("get_time", "null"), "", [TIME]),
    ("llama", f"{llama('get_time', 'null')}; {llama(*WEATHER)}", "", [TIME, WEATHER]),
    ("mistral", f"[TOOL_CALLS][{mistral('get_time', 'null')}, {mistral(*WEATHER)}]", "", [TIME, WEATHER]),
    ("mistral-args", "[TOOL_CALLS]get_time[ARGS]null[TOOL_CALLS]get_time[ARGS]{}", "", [TIME, TIME]),
    ("llama", llama(*WEATHER), "", [WEATHER]),
    ("llama", f"\n{llama(*WEATHER)}; {llama(*TIME)}", "", [WEATHER, TIME]),
    ("llama", f"{llama(*WEATHER)}\n{llama(*TIME)};\n", "", [WEATHER, TIME]),
    ("llama", f"<|python_tag|>{llama(*WEATHER)}; <|python_tag|>{llama(*TIME)}", "", [WEATHER, TIME]),
    ("llama", f"Let me see. <|python_tag|>{llama(*WEATHER)}", "Let me see.", [WEATHER]),
    ("llama", f'{{"type": "function", "name": "get_weather", "parameters": {ARGUMENTS}}}', "", [WEATHER]),
    ("llama", f'{{"name":"get_weather","arguments":{ARGUMENTS},"id":"x}}"}}', "", [WEATHER]),
    ("llama", f"{llama(*TIME)} It is late.", " It is late.", [TIME]),
    ("mistral", f"[TOOL_CALLS][{mistral(*WEATHER)}, {mistral(*TIME)}]", "", [WEATHER, TIME]),
    ("mistral", f"So:\n[TOOL_CALLS] [ {mistral(*WEATHER)[:-1]}, \"id\": \"a]b\"}} ]\n", "So:", [WEATHER]),
    ("mistral", '[TOOL_CALLS][{"arguments": {"a": 1}, "name": "f"}]', "", [("f", '{"a": 1}')]),
    ("mistral", f"[TOOL_CALLS][{mistral(*TIME)}] It is late.", " It is late.", [TIME]),
    ("mistral-args", f"[TOOL_CALLS]get_weather[ARGS]{ARGUMENTS}", "", [WEATHER]),
    ("mistral-args", f"[TOOL_CALLS]get_weather[ARGS]{ARGUMENTS}[TOOL_CALLS]get_time[ARGS]{{}}", "", [WEATHER, TIME]),
    ("mistral-args", f"So [TOOL_CALLS]get_weather[CALL_ID]9ab[ARGS]{ARGUMENTS}", "So", [WEATHER]),
    ("mistral-args", f"[TOOL_CALLS]get_weather {ARGUMENTS}", "", [WEATHER]),
]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "text", "content", "calls"), ANSWERS)
def test_calls(name: str, text: str, content: str, calls: list[tuple[str, str]], size: int) -> None:
    said = read(name, text, size)
    assert said.content == content
    assert [call[1:] for call in said.calls.values()] == calls


NO_CALLS = [
    ("hermes", "<tool_call>nonsense</tool_call> and more"),
    ("hermes", '<tool_call>\n{"na'),
    ("hermes", "Use the <tool_call> tag to call; <tool_call> \n or none."),
    ("hermes", "Use  <tool_call>  {tags} </tool_call>"),
    ("hermes", "<tool_call><tool_call>"),
    ("hermes", "<tool_call>[1]</tool_call>"),
    ("llama", '{"name": "Zoe", "parameters": {"a": 1}}'),
    ("llama", '{"name": "Zoe", "age": 7}'),
    ("llama", '{"name": "get_weather"}'),
    ("llama", '{"name": "get_weather", "parameters": "none"}'),
    ("llama", '  {"city": "Paris"}\n'),
    ("llama", f"For example {llama(*WEATHER)}"),
    ("llama", "<|python_tag|>print(1); <|python_tag|"),
    ("llama", "<|python_tag|><|python_tag|>"),
    ("llama", '{"na'),
    ("llama", '{"name": "Zoe", "parameters": null}'),
    ("llama", "{\"name\": \"get_time\", \"parameters\": nul"),
    ("llama", " \n<|python_tag|> print(1)"),
    ("llama", "Hello"),
    ("mistral", "[TOOL_CALLS] not so [1]"),
    ("mistral", "So  [TOOL_CALLS] [ 1]"),
    ("mistral-args", "[TOOL_CALLS]get_weather[ARGS]nullable"),
    ("mistral", '[TOOL_CALLS][{"name": 7}] more'),
    ("mistral", "[TOOL_CALLS][1, 2]"),
    ("mistral", "[TOOL_CALLS][]"),
    ("mistral", "[TOOL_CALLS][{\"a\""),
    ("mistral", "[TOOL_CAL"),
    ("mistral-args", "[TOOL_CALLS]get_weather[ARGS]"),
    ("mistral-args", "[TOOL_CALLS]get_weather[ARGS] nothing"),
]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "text"), NO_CALLS)
def test_what_is_no_call_is_content(name: str, text: str, size: int) -> None:
    said = read(name, text, size)
    assert said.content == text
    assert not said.calls


@pytest.mark.parametrize("name", FORMATS)
def test_plain_text_is_not_held_back(name: str) -> None:
    subject, out = reader(name), ParsedText()
    for text in ("Paris is the capital", ". The <tool_call> and [TOOL_CALLS] tags are none."):
        subject.feed(text, out)
        assert "".join(out.content).endswith(text)
        assert not subject.holding


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hermes", hermes(*WEATHER)),
        ("llama", llama(*WEATHER)),
        ("mistral", f"[TOOL_CALLS][{mistral(*WEATHER)}]"),
        ("mistral-args", f"[TOOL_CALLS]get_weather[ARGS]{ARGUMENTS}"),
    ],
)
def test_arguments_come_as_they_are_made(name: str, text: str) -> None:
    subject, fragments = reader(name), []
    for character in text:
        out = ParsedText()
        subject.feed(character, out)
        fragments += [call.arguments for call in out.calls]
        assert not out.content
    assert "".join(fragments) == ARGUMENTS
    assert len(fragments) >= len(ARGUMENTS)


@pytest.mark.parametrize("name", STREAMED)
def test_a_call_that_is_cut_off_keeps_what_it_has(name: str) -> None:
    text = {"hermes": hermes, "llama": llama}.get(name, mistral)(*WEATHER)
    prefix = "" if name in ("hermes", "llama") else "[TOOL_CALLS]["
    said = read(name, prefix + text[: text.index("Paris")])
    assert said.calls[0][1:] == ("get_weather", '{"city": "')
    assert not said.content


PIECES = [
    "<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[", "]", "{", "}", ";", ",", " ", "\n",
    '"name": ', '"get_time"', '"parameters": ', '"arguments": ', "x", llama(*TIME), mistral(*WEATHER), "get_time", "{}",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@given(st.sampled_from(sorted(FORMATS)), TEXTS, st.lists(st.integers(1, 9), max_size=60))
def test_how_the_text_is_cut_makes_no_difference(name: str, text: str, sizes: list[int]) -> None:
    steps, rest = [], text
    for size in sizes:
        steps.append(rest[:size])
        rest = rest[size:]
    one, other = parse([*steps, rest], reader(name)), read(name, text, len(text) or 1)
    assert (one.content, one.calls) == (other.content, other.calls)


@given(st.sampled_from(sorted(FORMATS)), TEXTS)
def test_without_a_call_no_character_is_lost(name: str, text: str) -> None:
    said = read(name, text)
    if not said.calls:
        assert said.content == text


# Words that are no part of any call, between what may be one.
WORDS = st.integers(0, 99).map(lambda number: f" w{number} ")


@given(st.sampled_from(sorted(FORMATS)), st.lists(st.sampled_from(PIECES) | WORDS, max_size=14))
def test_words_are_never_lost(name: str, pieces: list[str]) -> None:
    said = read(name, "".join(pieces))
    found = said.content + "".join(f" {call[1]} {call[2]} " for call in said.calls.values())
    for word in {piece for piece in pieces if piece.startswith(" w")}:
        assert found.count(word.strip()) >= pieces.count(word), word


@given(st.sampled_from(sorted(FORMATS)), TEXTS)
def test_content_is_said_where_it_stands(name: str, text: str) -> None:
    subject, at, content = reader(name), 0, ""
    for character in text:
        out, at = ParsedText(), at + 1
        subject.feed(character, out)
        assert [text[at - begin : at - end] for begin, end in out.places] == out.content
        content += "".join(out.content)
    out = ParsedText()
    subject.finish(out, cut=False)
    assert [text[at - begin : at - end] for begin, end in out.places] == out.content


@pytest.mark.parametrize("name", STREAMED)
def test_a_call_that_the_model_left_unfinished_is_content(name: str) -> None:
    whole, part = {"hermes": hermes, "llama": llama}.get(name, mistral)(*TIME), ""
    if name == "hermes":
        part = f"So\n{whole}\n<tool_call>\n" + mistral(*WEATHER)[:60]
    elif name == "llama":
        part = f"{whole}; " + llama(*WEATHER)[:60]
    elif name == "mistral":
        part = f"[TOOL_CALLS][{whole}, " + mistral(*WEATHER)[:60]
    else:
        part = "[TOOL_CALLS]get_time[ARGS]{}[TOOL_CALLS]get_weather[ARGS]" + ARGUMENTS[:12]
    for limited in (False, True):
        subject, out, said = reader(name), ParsedText(), Said()
        subject.feed(part, out)
        subject.finish(out, cut=limited)
        said.add(out)
        assert said.calls[0][1:] == TIME
        assert (len(said.calls), subject.call_count, subject.in_arguments) == (1 + limited, 1 + limited, limited)
        assert ("get_weather" in said.content) is not limited


@given(
    st.sampled_from(STREAMED),
    st.dictionaries(st.text(), st.recursive(st.text() | st.integers(), st.lists, max_leaves=5), max_size=4),
)
def test_arguments_pass_unchanged(name: str, arguments: dict[str, object]) -> None:
    written = json.dumps(arguments, ensure_ascii=False)
    texts = {
        "hermes": hermes("get_time", written),
        "llama": llama("get_time", written),
        "mistral": f"[TOOL_CALLS][{mistral('get_time', written)}]",
        "mistral-args": f"[TOOL_CALLS]get_time[ARGS]{written}",
    }
    assert read(name, texts[name]).calls == {0: ("call_1", "get_time", written)}
