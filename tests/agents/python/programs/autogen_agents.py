"""Conversations of AutoGen's assistant, with the client for OpenAI's API of autogen-ext."""

from __future__ import annotations

from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import TaskResult
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, StructuredMessage, ThoughtEvent
from autogen_ext.models.openai import OpenAIChatCompletionClient

from tests.agents.python.programs import scenarios
from tests.agents.python.programs.scenarios import Access, City


def model(access: Access, name: str = scenarios.MODEL) -> OpenAIChatCompletionClient:
    return OpenAIChatCompletionClient(
        model=name,
        base_url=access.base_url,
        api_key=access.api_key,
        model_info={
            "vision": False,
            "function_calling": True,
            "json_output": True,
            "structured_output": True,
            "family": "unknown",
        },
    )


async def ask_for_weather(client: OpenAIChatCompletionClient) -> dict[str, Any]:
    weather = scenarios.Weather()

    async def get_weather(city: str) -> str:
        """Tells the weather in a city."""
        return weather.look_up(city)

    agent = AssistantAgent("assistant", client, tools=[get_weather], model_client_stream=True, reflect_on_tool_use=True)
    events = [event async for event in agent.run_stream(task=scenarios.QUESTION)]
    (result,) = (event for event in events if isinstance(event, TaskResult))
    await client.close()
    return {
        "answer": result.messages[-1].to_text(),
        "streamed": len([event for event in events if isinstance(event, ModelClientStreamingChunkEvent)]) > 2,
        "cities": weather.cities,
        "thoughts": [event.content for event in events if isinstance(event, ThoughtEvent)],
    }


async def tools(access: Access) -> dict[str, Any]:
    return await ask_for_weather(model(access))


async def thoughts(access: Access) -> dict[str, Any]:
    return await ask_for_weather(model(access, scenarios.THINKING_MODEL))


async def structured(access: Access) -> dict[str, Any]:
    agent = AssistantAgent("assistant", model(access), output_content_type=City)
    message = (await agent.run(task=scenarios.CITY_QUESTION)).messages[-1]
    assert isinstance(message, StructuredMessage)
    return {"native": message.content.model_dump()}


async def no_credits(access: Access) -> dict[str, str]:
    return await scenarios.error_of(AssistantAgent("assistant", model(access)).run(task=scenarios.QUESTION))


async def too_long(access: Access) -> dict[str, str]:
    return await scenarios.error_of(AssistantAgent("assistant", model(access)).run(task=scenarios.LONG_QUESTION))


scenarios.run_scenarios(tools, thoughts, structured, no_credits, too_long)
