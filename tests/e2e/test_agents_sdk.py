"""The OpenAI Agents SDK against a real model: by chat completions, as the reference shows, and by responses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import pytest
from agents import (
    Agent,
    FunctionTool,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from pydantic import BaseModel

from tests.support.mesh import LocalMesh

MODEL = "tiermesh-pro"
MODELS = pytest.mark.parametrize("kind", [OpenAIChatCompletionsModel, OpenAIResponsesModel])
QUESTION = "What is the capital of France?"


class Weather(BaseModel):
    city: Literal["Paris", "London"]
    degrees: Literal[18]


@pytest.fixture(autouse=True)
def no_tracing() -> None:
    """Traces would go to OpenAI."""
    set_tracing_disabled(disabled=True)


@pytest.fixture
async def async_client(real_mesh: LocalMesh) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=real_mesh.base_url, api_key=real_mesh.unlimited_key, max_retries=0
    ) as client:
        yield client


def model(kind: Any, client: openai.AsyncOpenAI) -> Model:
    made: Model = kind(model=MODEL, openai_client=client)
    return made


def weather_tool(cities: list[str]) -> FunctionTool:
    """A tool that can be called once, because the small local model would go on calling it for ever."""

    @function_tool(is_enabled=lambda _context, _agent: not cities)
    def get_weather(city: Literal["Paris", "London"]) -> str:
        """Get the current weather for a city."""
        cities.append(city)
        return f"18 degrees in {city}"

    return get_weather


def weather_agent(kind: Any, client: openai.AsyncOpenAI, cities: list[str], **fields: Any) -> Agent[None]:
    settings = ModelSettings(temperature=0, tool_choice="required", parallel_tool_calls=False)
    return Agent(
        name="Assistant",
        instructions="You are a helpful assistant.",
        model=model(kind, client),
        model_settings=settings,
        tools=[weather_tool(cities)],
        **fields,
    )


async def test_the_sample_of_the_reference(sample_mesh: LocalMesh) -> None:
    client = openai.AsyncOpenAI(base_url=sample_mesh.base_url, api_key=sample_mesh.unlimited_key)
    agent = Agent(
        name="Assistant",
        instructions="You are helpful.",
        model=OpenAIChatCompletionsModel(model="tiermesh-max", openai_client=client),
    )
    assert (await Runner.run(agent, "Plan my week.")).final_output


@MODELS
async def test_an_agent_answers(async_client: openai.AsyncOpenAI, kind: Any) -> None:
    agent = Agent(
        name="Assistant",
        instructions="You are a helpful assistant.",
        model=model(kind, async_client),
        model_settings=ModelSettings(temperature=0),
    )
    result = await Runner.run(agent, QUESTION)
    assert "Paris" in result.final_output
    assert result.context_wrapper.usage.total_tokens > 10


@MODELS
async def test_an_agent_streams(async_client: openai.AsyncOpenAI, kind: Any) -> None:
    agent = Agent(
        name="Assistant",
        instructions="You are a helpful assistant.",
        model=model(kind, async_client),
        model_settings=ModelSettings(temperature=0),
    )
    result = Runner.run_streamed(agent, QUESTION)
    text = ""
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            text += event.data.delta
    assert "Paris" in text
    assert result.final_output == text


@MODELS
async def test_an_agent_may_end_with_its_tool(async_client: openai.AsyncOpenAI, kind: Any) -> None:
    cities: list[str] = []
    agent = weather_agent(kind, async_client, cities, tool_use_behavior="stop_on_first_tool")
    result = await Runner.run(agent, "What is the weather in Paris?")
    assert len(cities) == 1
    assert result.final_output == f"18 degrees in {cities[0]}"


@MODELS
async def test_an_agent_goes_on_with_what_its_tool_said(async_client: openai.AsyncOpenAI, kind: Any) -> None:
    cities: list[str] = []
    agent = weather_agent(kind, async_client, cities, output_type=Weather)
    result = await Runner.run(agent, "What is the weather in Paris?", max_turns=3)
    assert len(cities) == 1
    assert isinstance(result.final_output, Weather)
    assert len(result.raw_responses) == 2


@MODELS
async def test_an_agent_streams_its_tool_loop(async_client: openai.AsyncOpenAI, kind: Any) -> None:
    cities: list[str] = []
    agent = weather_agent(kind, async_client, cities, output_type=Weather)
    result = Runner.run_streamed(agent, "What is the weather in Paris?", max_turns=3)
    items = [event.name async for event in result.stream_events() if event.type == "run_item_stream_event"]
    assert items == ["tool_called", "tool_output", "message_output_created"]
    assert isinstance(result.final_output, Weather)


async def test_a_session_of_two_turns_sends_its_items_back(async_client: openai.AsyncOpenAI) -> None:
    agent = Agent(
        name="Assistant",
        instructions="You are a helpful assistant.",
        model=model(OpenAIResponsesModel, async_client),
        model_settings=ModelSettings(temperature=0),
        output_type=Weather,
    )
    first = await Runner.run(agent, QUESTION)
    second = await Runner.run(agent, [*first.to_input_list(), {"role": "user", "content": "And of England?"}])
    assert isinstance(second.final_output, Weather)
    used = [result.context_wrapper.usage.input_tokens for result in (first, second)]
    assert used[1] > used[0]
