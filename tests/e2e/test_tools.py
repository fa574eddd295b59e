"""Function calling with the official SDK: forced calls follow their schemas every time, streamed or not."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import jsonschema
import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from pydantic import BaseModel, Field

from tests.support.mesh import LocalMesh

MODEL = "tiermesh-pro"
# As many as the runner answers at once: others would wait in the queue, and not for ever.
SLOTS = 4
CITIES = ("Paris", "Rome", "Oslo", "Cairo", "Lima")
CITY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}
TIME_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"zone": {"type": "string", "maxLength": 12}},
    "required": ["zone"],
    "additionalProperties": False,
}
SCHEMAS = {"get_weather": CITY_SCHEMA, "get_time": TIME_SCHEMA}


def tool(name: str, description: str) -> dict[str, Any]:
    function = {"name": name, "description": description, "parameters": SCHEMAS[name]}
    return {"type": "function", "function": function}


WEATHER, TIME = tool("get_weather", "Weather in a city"), tool("get_time", "Time in a zone")
NAMED = {"type": "function", "function": {"name": "get_weather"}}


@pytest_asyncio.fixture
async def client(real_mesh: LocalMesh) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=real_mesh.base_url, api_key=real_mesh.unlimited_key, max_retries=0
    ) as client:
        yield client


def question(city: str) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": f"What's the weather in {city}?"},
    ]


async def whole(client: openai.AsyncOpenAI, **parameters: Any) -> ChatCompletion:
    parameters = {"model": MODEL, "max_tokens": 160, "tools": [WEATHER, TIME], **parameters}
    completion: ChatCompletion = await client.chat.completions.create(**parameters)
    return completion


async def streamed(client: openai.AsyncOpenAI, **parameters: Any) -> ChatCompletion:
    """Lets the SDK put the deltas together."""
    parameters = {"model": MODEL, "max_tokens": 160, "tools": [WEATHER, TIME], **parameters}
    async with client.chat.completions.stream(**parameters) as stream:
        return await stream.get_final_completion()


def calls(completion: ChatCompletion) -> list[tuple[str, Any]]:
    """Returns names and arguments, after checking that they are what was asked for."""
    [choice] = completion.choices
    assert choice.finish_reason == "tool_calls"
    assert not choice.message.content
    found = []
    for call in choice.message.tool_calls or ():
        assert call.type == "function"
        assert call.id.startswith("call_")
        arguments = json.loads(call.function.arguments)
        jsonschema.validate(arguments, SCHEMAS[call.function.name])
        found.append((call.function.name, arguments))
    assert found
    return found


Ask = Callable[..., Awaitable[ChatCompletion]]


@pytest.mark.parametrize("ask", [whole, streamed])
async def test_required_and_named_calls_are_schema_true_50_of_50(client: openai.AsyncOpenAI, ask: Ask) -> None:
    """Together 50 of each, half of them sampled."""
    choices = [choice for _ in range(25) for choice in ("required", NAMED)]
    slots = asyncio.Semaphore(SLOTS)

    async def one(at: int, choice: Any) -> ChatCompletion:
        parameters = {"tool_choice": choice, "seed": at, "temperature": at // 2 % 2, "parallel_tool_calls": False}
        async with slots:
            return await ask(client, messages=question(CITIES[at % 5]), **parameters)

    completions = await asyncio.gather(*(one(at, choice) for at, choice in enumerate(choices)))
    for choice, completion in zip(choices, completions, strict=True):
        [(name, _)] = calls(completion)
        assert choice == "required" or name == "get_weather"


@pytest.mark.parametrize("choice", ["required", NAMED])
async def test_a_stream_of_calls_adds_up_to_the_whole_answer(client: openai.AsyncOpenAI, choice: Any) -> None:
    parameters = {"messages": question("Paris"), "tool_choice": choice, "temperature": 0, "parallel_tool_calls": False}
    one, other = await asyncio.gather(whole(client, **parameters), streamed(client, **parameters))
    assert calls(one) == calls(other)
    assert "Paris" in str(calls(one))


@pytest.mark.parametrize("ask", [whole, streamed])
async def test_stop_strings_leave_a_forced_call_whole(client: openai.AsyncOpenAI, ask: Ask) -> None:
    stops = ["}", "name", "\n", '"']
    asked = {"messages": question("Paris"), "tool_choice": "required", "temperature": 0, "parallel_tool_calls": False}
    assert calls(await ask(client, **asked, stop=stops)) == calls(await ask(client, **asked))


async def test_deltas_say_id_and_name_once_and_arguments_in_pieces(client: openai.AsyncOpenAI) -> None:
    parameters: dict[str, Any] = {"messages": question("Paris"), "tools": [WEATHER], "tool_choice": NAMED}
    stream: Any = await client.chat.completions.create(
        model=MODEL, max_tokens=160, temperature=0, stream=True, **parameters
    )
    deltas = [
        delta
        async for chunk in stream
        for choice in chunk.choices
        for delta in choice.delta.tool_calls or ()
    ]  # fmt: skip
    assert [delta.id is not None for delta in deltas] == [True] + [False] * (len(deltas) - 1)
    assert [delta.function.name for delta in deltas if delta.function and delta.function.name] == ["get_weather"]
    assert len(deltas) > 3
    text = "".join(delta.function.arguments or "" for delta in deltas if delta.function)
    jsonschema.validate(json.loads(text), CITY_SCHEMA)


async def test_parallel_calls_are_several_and_can_be_forbidden(client: openai.AsyncOpenAI) -> None:
    parameters = {"messages": question("Paris"), "tool_choice": "required", "temperature": 0, "max_tokens": 600}
    many, single = await asyncio.gather(
        whole(client, **parameters), whole(client, parallel_tool_calls=False, **parameters)
    )
    assert 1 <= len(calls(many)) <= 8
    assert len(calls(single)) == 1


def asked_and_answered(city: str, number: int) -> list[dict[str, Any]]:
    """Returns a question, the call that it led to, its result and the answer."""
    function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
    call = {"id": f"call_{number}", "type": "function", "function": function}
    return [
        {"role": "user", "content": f"What's the weather in {city}?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
        {"role": "assistant", "content": f"It is sunny in {city}."},
    ]


# A model this small calls by itself only where the conversation shows it how.
EXAMPLES = [asked_and_answered(city, at) for at, city in enumerate(("Rome", "Oslo", "Cairo", "Lima"))]
HISTORY = [question("")[0], *itertools.chain.from_iterable(EXAMPLES)]


@pytest.mark.parametrize("strict", [False, True])
async def test_the_model_calls_by_itself_where_it_has_seen_how(client: openai.AsyncOpenAI, strict: bool) -> None:
    function = {**WEATHER["function"], "strict": strict}
    messages = [*HISTORY, {"role": "user", "content": "What's the weather in Paris?"}]
    parameters = {"messages": messages, "tools": [{"type": "function", "function": function}], "temperature": 0}
    one, other = await asyncio.gather(whole(client, **parameters), streamed(client, **parameters))
    assert calls(one) == calls(other)
    assert calls(one)[0] == ("get_weather", {"city": "Paris"})


async def test_a_strict_function_leaves_the_answer_free(client: openai.AsyncOpenAI) -> None:
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
    messages = [question("Paris")[0], {"role": "user", "content": "What is the capital of France?"}]
    parameters = {"messages": messages, "temperature": 0, "max_tokens": 24}
    free, bound = await asyncio.gather(
        whole(client, tools=[WEATHER], **parameters), whole(client, tools=[strict], **parameters)
    )
    assert bound.choices[0].message.content == free.choices[0].message.content
    assert bound.choices[0].finish_reason == free.choices[0].finish_reason


async def test_a_result_goes_back_to_the_model(client: openai.AsyncOpenAI) -> None:
    first = await whole(client, messages=question("Paris"), tool_choice=NAMED, temperature=0)
    [call] = first.choices[0].message.tool_calls or []
    messages: list[Any] = [
        *question("Paris"),
        first.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 21, "sky": "rain"}'},
    ]
    second = await whole(client, messages=messages, temperature=0, max_tokens=32)
    message: ChatCompletionMessage = second.choices[0].message
    assert message.content
    assert not message.tool_calls
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


async def test_results_go_to_their_calls_in_any_order(client: openai.AsyncOpenAI) -> None:
    [asked, called, result, _] = asked_and_answered("Rome", 1)
    [other] = asked_and_answered("Oslo", 2)[1]["tool_calls"]
    called = {**called, "tool_calls": [*called["tool_calls"], other]}
    results = [result, {**result, "tool_call_id": other["id"], "content": "rain"}]
    one, two = [
        await whole(client, messages=[asked, called, *order], temperature=0, max_tokens=8, logprobs=True)
        for order in (results, results[::-1])
    ]
    assert one.usage
    assert two.usage
    assert one.usage.prompt_tokens == two.usage.prompt_tokens
    first, second = one.choices[0].logprobs, two.choices[0].logprobs
    assert first
    assert second
    assert [token.token for token in first.content or ()] == [token.token for token in second.content or ()]
    logprobs = [token.logprob for token in first.content or ()]
    assert logprobs == pytest.approx([token.logprob for token in second.content or ()], abs=1e-3)


async def test_a_call_that_was_cut_off_leaves_no_content_and_goes_back_to_the_model(client: openai.AsyncOpenAI) -> None:
    for limit in (4, 18):
        first = await whole(client, messages=question("Paris"), tool_choice=NAMED, temperature=0, max_tokens=limit)
        [choice] = first.choices
        assert choice.finish_reason == "length"
        assert not choice.message.content
    # The name is whole, the arguments are not.
    [call] = choice.message.tool_calls or []
    assert call.type == "function"
    with pytest.raises(ValueError, match=r".+"):
        json.loads(call.function.arguments)
    result = {"role": "tool", "tool_call_id": call.id, "content": "These arguments are not valid JSON."}
    second = await whole(client, messages=[*question("Paris"), choice.message, result], temperature=0, max_tokens=8)
    assert second.choices[0].message.content


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        # Half of a surrogate pair within the JSON within the JSON: it once took the runner out of service for a while.
        ("get_weather", r'{"city": "\ud83d"}'),
        ("get_weather", "Paris"),
        ("get the weather", "{}"),
    ],
)
async def test_a_call_that_a_model_got_wrong_goes_back_to_it(
    client: openai.AsyncOpenAI, name: str, arguments: str
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    said = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": "?"}]
    for _ in range(2):
        answer = await whole(client, messages=[*question("Paris"), *said], temperature=0, max_tokens=8)
        assert answer.choices[0].message.content


# Two lines, with what JSON has to escape.
TWO_LINES = r"""
start: "echo " /"[a-z]{1,8}"/ LF "exit " /[0-9]/
%import common.LF
"""


async def test_a_custom_tool_takes_a_text_that_follows_its_grammar(client: openai.AsyncOpenAI) -> None:
    grammar: Any = {"type": "grammar", "grammar": {"syntax": "lark", "definition": TWO_LINES}}
    tool: Any = {"type": "custom", "custom": {"name": "shell", "description": "Runs a script.", "format": grammar}}
    choice: Any = {"type": "custom", "custom": {"name": "shell"}}
    answer = await whole(client, messages=question("Paris"), tools=[tool], tool_choice=choice, max_tokens=60)
    assert answer.choices[0].finish_reason == "tool_calls"
    [call] = answer.choices[0].message.tool_calls or []
    assert call.type == "custom"
    assert re.fullmatch(r'echo "[a-z]{1,8}"\nexit [0-9]', call.custom.input)
    flat: Any = {"type": "custom", "name": "shell", "format": {"type": "grammar", **grammar["grammar"]}}
    forced: Any = {"type": "custom", "name": "shell"}
    async with client.responses.stream(model=MODEL, input="Hi", tools=[flat], tool_choice=forced) as stream:
        deltas = [event.delta async for event in stream if event.type == "response.custom_tool_call_input.delta"]
        [item] = (await stream.get_final_response()).output
    assert item.type == "custom_tool_call"
    assert re.fullmatch(r'echo "[a-z]{1,8}"\nexit [0-9]', item.input)
    assert "".join(deltas) == item.input
    assert len(deltas) > 1


async def test_one_agent_step_costs_one_price(client: openai.AsyncOpenAI) -> None:
    parameters: dict[str, Any] = {"messages": question("Paris"), "tools": [WEATHER], "tool_choice": NAMED}
    raw = await client.chat.completions.with_raw_response.create(model=MODEL, max_tokens=100, **parameters)
    assert raw.parse().choices[0].finish_reason == "tool_calls"
    assert raw.headers["x-tiermesh-credits-charged"] == "10"


class GetWeather(BaseModel):
    """Weather in a city."""

    city: str = Field(max_length=12)
    days: int = Field(ge=1, le=7)


async def test_a_pydantic_function_is_parsed_by_the_sdk(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.parse(
        model=MODEL,
        messages=question("Paris"),  # type: ignore[arg-type] # plain dictionaries, as people write them
        tools=[openai.pydantic_function_tool(GetWeather)],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
        max_tokens=100,
    )
    [call] = completion.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, GetWeather)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"type": "object", "properties": {"x": {"enum": list(range(20_000))}}}, "too large|enum"),
        ({"type": "object", "properties": {"x": {"type": "array", "uniqueItems": True}}}, "uniqueItems"),
    ],
)
async def test_a_function_that_cannot_be_enforced_is_refused_with_the_reason(
    client: openai.AsyncOpenAI, parameters: dict[str, Any], reason: str
) -> None:
    unusable = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    with pytest.raises(openai.BadRequestError, match=reason) as refusal:
        await whole(client, messages=question("Paris"), tools=[unusable], tool_choice="required")
    assert refusal.value.param == "tools[0].function.parameters"
    # The mesh serves on.
    assert calls(await whole(client, messages=question("Paris"), tool_choice=NAMED))
