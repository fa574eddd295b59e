"""POST /v1/responses with the official SDK against a real model; every body and event is validated strictly."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Literal

import httpx2
import openai
import pytest
from openai.types.responses import FunctionToolParam, Response, ResponseInputParam, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from services.common.receipts.finding import covered
from tests.support import openai_schemas
from tests.support.deadlines import stretched
from tests.support.images import plain_image
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

MODEL = "tiermesh-pro"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CAPITAL: dict[str, Any] = {
    "model": MODEL,
    "instructions": "You are a helpful assistant.",
    "input": "What is the capital of France?",
    "temperature": 0,
}
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "London"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
FORCED: dict[str, Any] = {
    "model": MODEL,
    "input": "What is the weather in Paris?",
    "temperature": 0,
    "tools": [WEATHER],
    "tool_choice": "required",
    "parallel_tool_calls": False,
}


class Capital(BaseModel):
    city: Literal["Paris", "London"]
    sure: bool


def raw(mesh: LocalMesh, **body: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}"}
    return httpx2.post(mesh.base_url + "/responses", json=body, headers=headers, timeout=stretched(100))


def strict_response(mesh: LocalMesh, **body: Any) -> Response:
    """The same for a whole body."""
    answer = raw(mesh, **body)
    openai_schemas.check("Response", answer.json())
    return Response.model_validate_json(answer.content, strict=True)


def strict_events(mesh: LocalMesh, **body: Any) -> list[Any]:
    """Returns the events of a stream as they are on the wire, each valid by OpenAI's document and its SDK's types."""
    answer = raw(mesh, **body, stream=True)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = []
    for block in covered(answer.content).decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        openai_schemas.check_event(json.loads(data.removeprefix("data: ")))
        event = EVENT.validate_json(data.removeprefix("data: "), strict=True)
        assert name == f"event: {event.type}"
        events.append(event)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return events


def test_the_capital_of_france_is_paris(client: openai.OpenAI) -> None:
    response = client.responses.create(**CAPITAL)
    assert "Paris" in response.output_text
    assert (response.status, response.model) == ("completed", MODEL)
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 10


def test_a_body_is_valid_to_the_letter_and_says_what_it_cost(real_mesh: LocalMesh) -> None:
    answer = raw(real_mesh, **CAPITAL, store=True, metadata={"a": "b"}, service_tier="auto", user="someone")
    response = Response.model_validate_json(answer.content, strict=True)
    openai_schemas.check("Response", answer.json())
    assert answer.headers["x-tiermesh-credits-charged"] == "10"
    assert response.metadata == {"a": "b"}
    assert response.to_dict()["store"] is False


def test_a_stream_is_valid_to_the_letter_and_adds_up_to_the_whole_answer(real_mesh: LocalMesh) -> None:
    events = strict_events(real_mesh, **CAPITAL)
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text
    whole = strict_response(real_mesh, **CAPITAL)
    assert whole.output_text == text
    assert events[-1].response.usage.output_tokens == (whole.usage and whole.usage.output_tokens)
    assert events[-1].response.tiermesh["credits_charged"] == 10


def test_the_stream_helper_puts_the_response_together(client: openai.OpenAI) -> None:
    with client.responses.stream(**CAPITAL) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        response = stream.get_final_response()
    assert snapshots[-1] == response.output_text
    assert "Paris" in response.output_text


async def test_the_async_client_works_too(real_mesh: LocalMesh) -> None:
    async with openai.AsyncOpenAI(base_url=real_mesh.base_url, api_key=real_mesh.unlimited_key) as client:
        stream = await client.responses.create(**CAPITAL, stream=True)
        types = [event.type async for event in stream]
    assert (types[0], types[-1]) == ("response.created", "response.completed")


def test_max_output_tokens_makes_it_incomplete(real_mesh: LocalMesh) -> None:
    cut = {**CAPITAL, "max_output_tokens": 3}
    events = strict_events(real_mesh, **cut)
    whole = strict_response(real_mesh, **cut)
    assert events[-1].type == "response.incomplete"
    for response in (events[-1].response, whole):
        assert response.status == "incomplete"
        told: dict[str, Any] = response.to_dict()
        assert told["incomplete_details"] == {"reason": "max_output_tokens"}
        assert told["usage"]["output_tokens"] == 3


def test_a_conversation_goes_on_with_the_items_sent_back(client: openai.OpenAI) -> None:
    first = client.responses.create(**CAPITAL)
    said: ResponseInputParam = [{"role": "user", "content": CAPITAL["input"]}]
    said += [item.to_dict() for item in first.output]
    said += [{"role": "user", "content": [{"type": "input_text", "text": "And of Germany?"}]}]
    second = client.responses.create(model=MODEL, input=said, temperature=0, max_output_tokens=16)
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.total_tokens - 10
    assert second.output_text


def test_a_tool_goes_there_and_back(client: openai.OpenAI) -> None:
    first = client.responses.create(**FORCED)
    (call,) = first.output
    assert call.type == "function_call"
    assert (call.name, call.status) == ("get_weather", "completed")
    assert json.loads(call.arguments)["city"] in {"Paris", "London"}
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees and sunny"}
    said: Any = [{"role": "user", "content": FORCED["input"]}, call.to_dict(), result]
    second = client.responses.create(
        model=MODEL, input=said, tools=[WEATHER], tool_choice="none", temperature=0, max_output_tokens=24
    )
    assert second.output_text


def test_a_streamed_call_is_that_of_the_whole_answer(real_mesh: LocalMesh) -> None:
    events = strict_events(real_mesh, **FORCED)
    arguments = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    (call,) = events[-1].response.output
    done = next(event for event in events if event.type == "response.function_call_arguments.done")
    assert call.arguments == done.arguments == arguments
    whole = strict_response(real_mesh, **FORCED)
    assert whole.output[0].to_dict()["arguments"] == arguments


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "name": "get_weather"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_weather"}]},
    ],
)
def test_a_function_can_be_named(client: openai.OpenAI, choice: Any) -> None:
    other: Any = {"type": "function", "name": "other", "parameters": {"type": "object"}, "strict": False}
    response = client.responses.create(**{**FORCED, "tools": [other, WEATHER], "tool_choice": choice})
    assert [item.to_dict()["name"] for item in response.output] == ["get_weather"]


def test_parse_reads_a_pydantic_model(client: openai.OpenAI) -> None:
    response = client.responses.parse(**CAPITAL, text_format=Capital)
    assert isinstance(response.output_parsed, Capital)


def test_a_stream_of_structured_output_is_parsed_too(client: openai.OpenAI) -> None:
    with client.responses.stream(**CAPITAL, text_format=Capital) as stream:
        parsed = stream.get_final_response().output_parsed
    assert isinstance(parsed, Capital)


def test_json_object_is_any_object(client: openai.OpenAI) -> None:
    format_: Any = {"format": {"type": "json_object"}, "verbosity": "low"}
    response = client.responses.create(**{**CAPITAL, "temperature": 1}, text=format_, max_output_tokens=200)
    assert response.output_text.startswith("{")


def test_logprobs_are_included_when_asked_for(client: openai.OpenAI) -> None:
    response = client.responses.create(
        **CAPITAL, include=["message.output_text.logprobs"], top_logprobs=2, max_output_tokens=4
    )
    part = response.output[0].to_dict()["content"][0]
    assert "".join(token["token"] for token in part["logprobs"]) == part["text"]
    assert {len(token["top_logprobs"]) for token in part["logprobs"]} == {2}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"temperature": "hot"}, "temperature"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "nothing"}}}},
            "text.format.schema",
        ),
    ],
)
def test_what_is_not_supported_is_400_and_free(
    real_mesh: LocalMesh, client: openai.OpenAI, changes: dict[str, Any], param: str
) -> None:
    before = real_mesh.command_now("balance", real_mesh.account_id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**(CAPITAL | changes))
    assert caught.value.param == param
    assert real_mesh.command_now("balance", real_mesh.account_id) == before


def test_an_image_can_be_shown(real_mesh: LocalMesh) -> None:
    url = "data:image/png;base64," + base64.b64encode(plain_image("red")).decode()
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": url, "detail": "auto"},
    ]
    said = [{"role": "user", "content": parts}]
    response = strict_response(real_mesh, model="tiermesh-max", input=said, max_output_tokens=8)
    assert response.output_text
    refused = raw(real_mesh, model=MODEL, input=said)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input[0].content[1]")


def test_thoughts_are_an_item_before_the_message(real_mesh: LocalMesh) -> None:
    asked = {"model": "tiermesh-max-think", "input": "What is the capital of France?", "max_output_tokens": 300}
    events = strict_events(real_mesh, **asked, temperature=0)
    thought, *_ = events[-1].response.output
    deltas = "".join(event.delta for event in events if event.type == "response.reasoning_text.delta")
    assert thought.type == "reasoning"
    assert (thought.content[0].text, thought.summary) == (deltas, [])
    assert events[-1].response.usage.output_tokens_details.reasoning_tokens > 0
    summarised = strict_response(real_mesh, **asked, temperature=0, reasoning={"effort": "low", "summary": "auto"})
    assert summarised.output[0].to_dict()["summary"]


def test_nothing_is_stored(client: openai.OpenAI) -> None:
    response = client.responses.create(**CAPITAL, max_output_tokens=1)
    for ask in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError, match="keeps none"):
            ask(response.id)


@pytest.fixture(scope="module")
def failing_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """Its one runner breaks every answer off after three words, and no other can go on."""
    with LocalMesh(tmp_path_factory.mktemp("failing"), environ={"TIERMESH_RUNNER_SIMULATED_FAIL_AFTER": "3"}) as mesh:
        yield mesh


async def test_an_answer_that_breaks_off_has_failed_and_is_free(failing_mesh: LocalMesh) -> None:
    def balance() -> Any:
        return failing_mesh.command_now("balance", failing_mesh.account_id)

    before = balance()
    events = strict_events(failing_mesh, model=MODEL, input="hi")
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    failed = events[-1]
    assert (failed.type, failed.response.status, failed.response.error.code) == (
        "response.failed",
        "failed",
        "server_error",
    )
    # The price that was held is released in the background.
    await eventually(lambda: balance() == before)
