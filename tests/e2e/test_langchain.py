"""LangChain's classes for OpenAI, pointed at the mesh."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from tests.support.mesh import LocalMesh

SYSTEM = SystemMessage("You are a helpful assistant.")
QUESTION = "What is the capital of France?"


class City(BaseModel):
    """A city."""

    # Small models go on inventing fields for as long as they may.
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=20)
    population: int = Field(ge=0, le=99_999_999)


@tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


@pytest.fixture
def chat(real_mesh: LocalMesh) -> ChatOpenAI:
    return ChatOpenAI(
        model="tiermesh-pro",
        base_url=real_mesh.base_url,
        api_key=SecretStr(real_mesh.unlimited_key),
        temperature=0,
        max_retries=0,
        max_completion_tokens=200,
    )


def test_the_sample_of_the_reference(sample_mesh: LocalMesh) -> None:
    llm = ChatOpenAI(model="tiermesh-max", base_url=sample_mesh.base_url, api_key=SecretStr(sample_mesh.unlimited_key))
    # The sample ends before it asks anything.
    assert llm.invoke("Hello!").text


def test_invoke(chat: ChatOpenAI) -> None:
    answer = chat.invoke([SYSTEM, HumanMessage(QUESTION)])
    assert "Paris" in answer.text
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0


def test_stream(chat: ChatOpenAI) -> None:
    whole: AIMessageChunk | None = None
    pieces = 0
    for chunk in chat.stream([SYSTEM, HumanMessage(QUESTION)], stream_usage=True):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
        pieces += bool(chunk.text)
    assert whole is not None
    assert "Paris" in whole.text
    assert pieces > 1
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] > whole.usage_metadata["input_tokens"] > 0


def test_a_tool_is_called_and_its_result_answered(chat: ChatOpenAI) -> None:
    question = HumanMessage("What is the weather in Paris?")
    call = chat.bind_tools([get_weather], tool_choice="get_weather").invoke([SYSTEM, question])
    assert isinstance(call, AIMessage)
    (asked,) = call.tool_calls
    assert asked["name"] == "get_weather"
    result = get_weather.invoke(asked)
    assert isinstance(result, ToolMessage)
    assert "Paris" in result.text
    answer = chat.invoke([SYSTEM, question, call, result])
    assert answer.text


def test_a_streamed_call_is_put_together(chat: ChatOpenAI) -> None:
    whole: AIMessageChunk | None = None
    for chunk in chat.bind_tools([get_weather], tool_choice="any").stream("What is the weather in Paris?"):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert [call["name"] for call in whole.tool_calls] == ["get_weather"] * len(whole.tool_calls)
    assert whole.tool_calls[0]["args"].keys() == {"city"}


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(chat: ChatOpenAI, method: str) -> None:
    # The choice of methods is a Literal.
    structured = chat.with_structured_output(City, method=method)  # type: ignore[arg-type]
    city = structured.invoke([SYSTEM, HumanMessage(QUESTION + " Answer in JSON.")])
    assert isinstance(city, City)
    assert city.name


def test_embeddings(real_mesh: LocalMesh) -> None:
    embeddings = OpenAIEmbeddings(
        model="tiermesh-embed",
        base_url=real_mesh.base_url,
        api_key=SecretStr(real_mesh.unlimited_key),
        # Otherwise it would send the tokens of OpenAI's own models.
        check_embedding_ctx_length=False,
    )
    first, second, third = embeddings.embed_documents(
        ["How do I reset my password?", "I forgot my login credentials.", "A cheetah chases its prey."]
    )
    query = embeddings.embed_query("How do I reset my password?")
    assert query == pytest.approx(first, abs=1e-5)
    assert sum(map(float.__mul__, first, second)) > sum(map(float.__mul__, first, third)) + 0.3
