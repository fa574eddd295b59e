"""Agents against the script of docs/agents.md, with prompts that no model of a laptop can hold."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from pydantic import BaseModel

from tests.support.mesh import LocalMesh

DOCUMENT = Path(__file__).parents[2] / "docs" / "agents.md"
WORDS = 100_000
QUESTION = "What is the weather in Paris?"
ANSWER = "It is 18 degrees in Paris."


class City(BaseModel):
    name: str
    population: int


class Place(BaseModel, extra="forbid"):
    city: str


TOOL = openai.pydantic_function_tool(Place, name="get_weather")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    directory = tmp_path_factory.mktemp("scripted")
    scripts = re.findall(r"```yaml\n(rules:\n.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (directory / "weather.yaml").write_text("".join(scripts))
    # The pace of a model is for people.
    environ = {"TIERMESH_RUNNER_SIMULATED_SPEED": "0", "TIERMESH_RUNNER_SIMULATED_PREFILL_SPEED": "0"}
    with LocalMesh(directory, "--script", str(directory / "weather.yaml"), tiers=("max",), environ=environ) as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: LocalMesh) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0) as client:
        yield client


async def test_an_agent_with_a_hundred_thousand_tokens_of_instructions(client: openai.AsyncOpenAI) -> None:
    cities: list[str] = []

    @function_tool
    def get_weather(city: Literal["Paris", "London"]) -> str:
        """Get the current weather for a city."""
        cities.append(city)
        return "18 degrees"

    set_tracing_disabled(disabled=True)
    agent = Agent(
        name="Assistant",
        instructions="rule " * WORDS,
        model=OpenAIChatCompletionsModel(model="tiermesh-max", openai_client=client),
        model_settings=ModelSettings(include_usage=True),
        tools=[get_weather],
    )
    done = Runner.run_streamed(agent, QUESTION)
    async for _ in done.stream_events():
        pass
    assert (done.final_output, cities) == (ANSWER, ["Paris"])
    usage = done.context_wrapper.usage
    assert usage.requests == 2
    assert usage.input_tokens > 2 * WORDS
    too_long: Any = [{"role": "user", "content": "rule " * 140_000}]
    with pytest.raises(openai.BadRequestError, match="maximum context length is 131072 tokens"):
        await client.chat.completions.create(model="tiermesh-max", messages=too_long)


async def test_the_list_tells_agents_of_the_long_context(client: openai.AsyncOpenAI) -> None:
    models = {model.id: model.model_dump() for model in (await client.models.list()).data}
    assert (models["tiermesh-max"]["context_length"], models["tiermesh-max"]["max_model_len"]) == (131072, 131072)
    assert models["tiermesh-embed"]["context_length"] == 512


async def test_an_answer_without_a_rule_ends_by_itself(client: openai.AsyncOpenAI) -> None:
    messages: Any = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Ask me for the weather in Paris."},
        {"role": "user", "content": "Why?"},
    ]
    done = await client.chat.completions.create(model="tiermesh-max", messages=messages, max_tokens=32_000)
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert 0 < done.usage.completion_tokens < 500


async def test_a_thought_and_a_call(client: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": "tiermesh-max-think", "messages": [{"role": "user", "content": QUESTION}], "tools": [TOOL]}
    whole = await client.chat.completions.create(**asked, logprobs=True, top_logprobs=2)
    choice = whole.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "I will look it up."
    assert choice.message.model_extra["reasoning_content"] == "I do not know the weather, but there is a function."
    assert choice.logprobs is not None
    assert "".join(entry.token for entry in choice.logprobs.content or ()) == choice.message.content
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Paris"}')
    assert whole.usage is not None
    assert whole.usage.completion_tokens_details is not None
    assert 0 < (whole.usage.completion_tokens_details.reasoning_tokens or 0) < whole.usage.completion_tokens
    async with client.chat.completions.stream(**asked) as stream:
        streamed = await stream.get_final_completion()
    assert streamed.choices[0].message.content == choice.message.content
    (same,) = streamed.choices[0].message.tool_calls or []
    assert same.function.arguments == call.function.arguments


async def test_a_rule_whose_functions_are_not_on_offer_is_passed_over(client: openai.AsyncOpenAI) -> None:
    done = await client.chat.completions.create(
        model="tiermesh-max", messages=[{"role": "user", "content": QUESTION}], stop=["the weather"]
    )
    assert done.choices[0].message.content == "Ask me for "
    assert done.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("model", ["tiermesh-max", "tiermesh-max-think"])
async def test_forced_shapes_hold_where_the_script_says_something_else(client: openai.AsyncOpenAI, model: str) -> None:
    messages: Any = [{"role": "user", "content": "Tell me of a city."}]
    shaped = await client.chat.completions.parse(model=model, messages=messages, response_format=City)
    assert isinstance(shaped.choices[0].message.parsed, City)
    forced = await client.chat.completions.create(
        model=model, messages=messages, tools=[TOOL], tool_choice="required", parallel_tool_calls=False
    )
    (call,) = forced.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.arguments.startswith('{"city": "')
