"""Conversations of pydantic-ai, by chat completions and by the Responses API."""

from __future__ import annotations

from typing import Any

from pydantic_ai import Agent, AgentRunResultEvent, NativeOutput
from pydantic_ai.messages import PartDeltaEvent, TextPartDelta, ThinkingPart
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.agents.python.programs import scenarios
from tests.agents.python.programs.scenarios import Access, City


def provider(access: Access) -> OpenAIProvider:
    return OpenAIProvider(base_url=access.base_url, api_key=access.api_key)


def chat(access: Access, model: str = scenarios.MODEL) -> OpenAIChatModel:
    return OpenAIChatModel(model, provider=provider(access))


async def ask_for_weather(model: Model) -> dict[str, Any]:
    weather = scenarios.Weather()
    agent = Agent(model, instructions="Be brief.")
    agent.tool_plain(name="get_weather")(weather.look_up)
    async with agent.run_stream_events(scenarios.QUESTION) as run:
        events = [event async for event in run]
    (result,) = (event.result for event in events if isinstance(event, AgentRunResultEvent))
    deltas = [event.delta for event in events if isinstance(event, PartDeltaEvent)]
    parts = [part for message in result.all_messages() for part in message.parts]
    return {
        "answer": result.output,
        "streamed": len([delta for delta in deltas if isinstance(delta, TextPartDelta)]) > 2,
        "cities": weather.cities,
        "thoughts": [part.content for part in parts if isinstance(part, ThinkingPart)],
        "prompt_tokens": result.usage.input_tokens,
    }


async def tools(access: Access) -> dict[str, Any]:
    return await ask_for_weather(chat(access))


async def thoughts(access: Access) -> dict[str, Any]:
    return await ask_for_weather(chat(access, scenarios.THINKING_MODEL))


async def tools_by_responses(access: Access) -> dict[str, Any]:
    return await ask_for_weather(OpenAIResponsesModel(scenarios.MODEL, provider=provider(access)))


async def structured(access: Access) -> dict[str, Any]:
    native = await Agent(chat(access), output_type=NativeOutput(City)).run(scenarios.CITY_QUESTION)
    # By default, the shape is the arguments of a forced call.
    called = await Agent(chat(access), output_type=City).run(scenarios.CITY_QUESTION)
    return {"native": native.output.model_dump(), "called": called.output.model_dump()}


async def no_credits(access: Access) -> dict[str, str]:
    return await scenarios.error_of(Agent(chat(access)).run(scenarios.QUESTION))


async def too_long(access: Access) -> dict[str, str]:
    return await scenarios.error_of(Agent(chat(access)).run(scenarios.LONG_QUESTION))


scenarios.run_scenarios(tools, thoughts, tools_by_responses, structured, no_credits, too_long)
