"""Conversations of smolagents: agents that call tools, and agents that write code."""

from __future__ import annotations

import asyncio
from typing import Any

from smolagents import ChatMessageStreamDelta, CodeAgent, FinalAnswerStep, LogLevel, OpenAIModel, ToolCallingAgent, tool

from tests.agents.python.programs import scenarios
from tests.agents.python.programs.scenarios import Access


def model(access: Access) -> OpenAIModel:
    return OpenAIModel(scenarios.MODEL, api_base=access.base_url, api_key=access.api_key)


def ask_for_weather(access: Access, kind: type[ToolCallingAgent] | type[CodeAgent], **options: Any) -> dict[str, Any]:
    weather = scenarios.Weather()

    @tool
    def get_weather(city: str) -> str:
        """Tells the weather in a city.

        Args:
            city: The name of the city.
        """
        return weather.look_up(city)

    agent = kind(tools=[get_weather], model=model(access), verbosity_level=LogLevel.OFF, max_steps=4, **options)
    steps = list(agent.run(scenarios.QUESTION, stream=True))
    deltas = [step for step in steps if isinstance(step, ChatMessageStreamDelta)]
    (final,) = (step.output for step in steps if isinstance(step, FinalAnswerStep))
    prompt_tokens = agent.monitor.get_total_token_counts().input_tokens
    return {
        "answer": final,
        "streamed": len(deltas) > 2,
        "cities": weather.cities,
        "prompt_tokens": prompt_tokens,
    }


async def tools(access: Access) -> dict[str, Any]:
    return await asyncio.to_thread(ask_for_weather, access, ToolCallingAgent, stream_outputs=True)


async def structured(access: Access) -> dict[str, Any]:
    """The thought and the code of each step are the fields of one JSON object."""
    return await asyncio.to_thread(ask_for_weather, access, CodeAgent, use_structured_outputs_internally=True)


async def no_credits(access: Access) -> dict[str, str]:
    return await scenarios.error_of(asyncio.to_thread(ask_for_weather, access, ToolCallingAgent))


async def too_long(access: Access) -> dict[str, str]:
    agent = ToolCallingAgent(tools=[], model=model(access), verbosity_level=LogLevel.OFF)
    return await scenarios.error_of(asyncio.to_thread(agent.run, scenarios.LONG_QUESTION))


scenarios.run_scenarios(tools, structured, no_credits, too_long)
