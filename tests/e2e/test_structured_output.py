"""Structured output with the official SDK: the answer follows its schema every time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any, Literal

import jsonschema
import openai
import pytest
import pytest_asyncio
from pydantic import BaseModel, Field

from tests.support.mesh import LocalMesh

MODEL = "tiermesh-pro"
SLOTS = 4
WORD = {"type": "string", "maxLength": 8}


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


SCHEMAS: dict[str, dict[str, Any]] = {
    "nested": an_object(place=an_object(name=WORD, at=an_object(x={"type": "integer", "minimum": 0, "maximum": 9}))),
    "enum": an_object(colour={"enum": ["red", "green", None]}, size={"const": 7}),
    "anyOf": an_object(value={"anyOf": [{"type": "boolean"}, an_object(name=WORD), {"type": "null"}]}),
    "array": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99}, "minItems": 2, "maxItems": 4},
    "no others": {
        "type": "object",
        "properties": {"city": WORD, "big": {"type": "boolean"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "recursive": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"name": WORD, "child": {"$ref": "#/$defs/node"}},
                "required": ["name"],
                "additionalProperties": False,
            },
        },
    },
    "allOf": {"allOf": [{"$ref": "#/$defs/named"}, {"properties": {"at": {"type": "string", "format": "ipv4"}}}],
              "$defs": {"named": {"type": "object", "properties": {"name": WORD}}},
              "required": ["name", "at"], "properties": {"name": True, "at": True}, "additionalProperties": False},
    "oneOf": {"oneOf": [an_object(kind={"const": "cat"}, age={"type": "integer", "minimum": 0, "maximum": 30}),
                        an_object(kind={"const": "dog"}, name=WORD)]},
}  # fmt: skip


@pytest_asyncio.fixture
async def client(real_mesh: LocalMesh) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=real_mesh.base_url, api_key=real_mesh.unlimited_key, max_retries=0
    ) as client:
        yield client


def openai_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def bytecompute_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "schema": schema}


def parameters(response_format: Any, **others: Any) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Make something up and answer as JSON."},
    ]
    return {
        "model": MODEL, "messages": messages, "response_format": response_format, "max_tokens": 200, "temperature": 0,
        **others,
    }  # fmt: skip


async def whole(client: openai.AsyncOpenAI, **given: Any) -> str:
    completion = await client.chat.completions.create(**given)
    assert completion.choices[0].finish_reason == "stop"
    return completion.choices[0].message.content or ""


async def streamed(client: openai.AsyncOpenAI, **given: Any) -> str:
    async with client.chat.completions.stream(**given) as stream:
        completion = await stream.get_final_completion()
    assert completion.choices[0].finish_reason == "stop"
    return completion.choices[0].message.content or ""


async def test_answers_are_schema_true_50_of_50(client: openai.AsyncOpenAI) -> None:
    """Over all schemas, both shapes of the request, streamed and not, sampled and not.

    The recursive one is not sampled: a schema does not say when to stop nesting, and a small model may never do.
    """
    slots = asyncio.Semaphore(SLOTS)

    async def one(number: int, name: str) -> Any:
        shape = openai_format if number % 2 else bytecompute_format
        ask = streamed if number // 2 % 2 else whole
        temperature = number // 4 % 2 if name != "recursive" else 0
        given = parameters(shape(SCHEMAS[name]), seed=number, temperature=temperature)
        async with slots:
            return json.loads(await ask(client, **given))

    names = [list(SCHEMAS)[number % len(SCHEMAS)] for number in range(50)]
    answers = await asyncio.gather(*(one(number, name) for number, name in enumerate(names)))
    for name, answer in zip(names, answers, strict=True):
        jsonschema.validate(answer, SCHEMAS[name], format_checker=jsonschema.FormatChecker())
    assert len(answers) == 50
    assert any("child" in answer for answer in answers if isinstance(answer, dict))


@pytest.mark.parametrize("shape", [openai_format, bytecompute_format])
async def test_a_stream_adds_up_to_the_whole_answer(client: openai.AsyncOpenAI, shape: Any) -> None:
    given = parameters(shape(SCHEMAS["nested"]))
    one, other = await asyncio.gather(whole(client, **given), streamed(client, **given))
    assert one == other


async def test_json_object_is_an_object(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(**parameters({"type": "json_object"}, max_tokens=60))
    content = completion.choices[0].message.content or ""
    assert content.startswith("{")
    if completion.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(content), dict)


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    colour: Colour | None


class Home(BaseModel):
    """What the SDK makes a strict schema of."""

    owner: str = Field(max_length=8, description="A name")
    pets: list[Cat | Dog] = Field(min_length=1, max_length=2)


async def test_parse_returns_the_pydantic_model(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.parse(**parameters(Home))
    assert isinstance(completion.choices[0].message.parsed, Home)


async def test_parse_knows_discriminated_unions(client: openai.AsyncOpenAI) -> None:
    class Zoo(BaseModel):
        animal: Cat | Dog = Field(discriminator="kind")

    completion = await client.chat.completions.create(**parameters(bytecompute_format(Zoo.model_json_schema())))
    assert Zoo.model_validate_json(completion.choices[0].message.content or "").animal


UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({"type": "foo"}, "'type' at #"),
    ({"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True}}}, "uniqueItems.*/tags"),
    ({"not": {"type": "string"}}, "'not'"),
    ({"type": "string", "format": "credit-card"}, "format"),
    ({"$ref": "#/$defs/nowhere"}, "nowhere|does not exist"),
    ({"enum": [f"value {number}" for number in range(20_000)]}, "too large"),
    ({"type": "array", "minItems": 1_000_000_000}, "minItems"),
    ({"type": "string", "maxLength": 1_000_000_000}, "maxLength"),
    ({"type": "integer", "multipleOf": 99_991}, "multipleOf"),
    (
        {"allOf": [{"anyOf": [{"type": "object", "properties": {f"p{at}": {"const": number}}} for number in range(4)]}
                   for at in range(20)]},
        "combine",
    ),
]  # fmt: skip


async def test_what_cannot_be_enforced_is_refused_while_others_are_answered(client: openai.AsyncOpenAI) -> None:
    other = asyncio.create_task(whole(client, **parameters(openai_format(SCHEMAS["enum"]))))
    for schema, reason in UNUSABLE:
        with pytest.raises(openai.BadRequestError, match=reason) as refusal:
            await client.chat.completions.create(**parameters(openai_format(schema)))
        # Only the compiler of the runner knows where references lead; the edge names the very field.
        place = "response_format" if "$ref" in schema else "response_format.json_schema.schema"
        assert refusal.value.param == place
    jsonschema.validate(json.loads(await other), SCHEMAS["enum"])
