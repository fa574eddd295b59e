"""Conversations of LlamaIndex with the model class for APIs like OpenAI's."""

from __future__ import annotations

from typing import Any

from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

from tests.agents.python.programs import scenarios
from tests.agents.python.programs.scenarios import Access, City


def model(access: Access, name: str = scenarios.MODEL, **options: Any) -> OpenAILike:
    return OpenAILike(
        model=name,
        api_base=access.base_url,
        api_key=access.api_key,
        is_chat_model=True,
        is_function_calling_model=True,
        context_window=8192,
        **options,
    )


async def ask_for_weather(llm: OpenAILike) -> dict[str, Any]:
    weather = scenarios.Weather()
    tool = FunctionTool.from_defaults(weather.look_up, name="get_weather")
    agent = FunctionAgent(tools=[tool], llm=llm, system_prompt="Be brief.")
    run = agent.run(scenarios.QUESTION)
    events = [event async for event in run.stream_events() if isinstance(event, AgentStream)]
    return {
        "answer": str(await run),
        "streamed": len([event for event in events if event.delta]) > 2,
        "cities": weather.cities,
        "thoughts": "".join(event.thinking_delta or "" for event in events),
    }


async def tools(access: Access) -> dict[str, Any]:
    return await ask_for_weather(model(access))


async def thoughts(access: Access) -> dict[str, Any]:
    return await ask_for_weather(model(access, scenarios.THINKING_MODEL))


async def structured(access: Access) -> dict[str, Any]:
    prompt = PromptTemplate(scenarios.CITY_QUESTION)
    called = await model(access).astructured_predict(City, prompt)
    native = await model(access, should_use_structured_outputs=True).astructured_predict(City, prompt)
    return {"native": native.model_dump(), "called": called.model_dump()}


async def no_credits(access: Access) -> dict[str, str]:
    return await scenarios.error_of(model(access).acomplete(scenarios.QUESTION))


async def too_long(access: Access) -> dict[str, str]:
    return await scenarios.error_of(model(access).acomplete(scenarios.LONG_QUESTION))


scenarios.run_scenarios(tools, thoughts, structured, no_credits, too_long)
