"""Schemas and tools that would keep an engine busy for ever, or that it cannot keep to, hinder and charge nobody."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

HELLO: dict[str, Any] = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
MANY = {"type": "object", "properties": {"a": {"enum": [f"value {n}" for n in range(20_000)]}}, "required": ["a"]}
NESTED: dict[str, Any] = {"type": "integer"}
for _ in range(200):
    NESTED = {"type": "object", "properties": {"a": NESTED, "b": NESTED}, "required": ["a"]} if _ < 8 else {
        "type": "array", "items": NESTED}  # fmt: skip


def schema_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


def tool(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}


HEAVY: dict[str, dict[str, Any]] = {
    "a large enum": schema_format(MANY),
    "a large enum of a tool": {"tools": [tool("f", MANY)], "tool_choice": "required"},
    "many tools with large enums": {"tools": [tool(f"f{n}", MANY) for n in range(10)], "tool_choice": "required"},
    "deep nesting": schema_format(NESTED),
    "a large repetition": schema_format({"type": "string", "minLength": 100_000, "maxLength": 200_000}),
    "many items": schema_format({"type": "array", "items": {"type": "integer"}, "minItems": 100_000}),
    "a costly pattern": schema_format({"type": "string", "pattern": "^((a|b|ab){1,500}){1,500}$"}),
}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("schemas"), "--engine", "llamacpp") as mesh:
        yield mesh


@pytest.mark.parametrize("name", HEAVY)
async def test_a_heavy_request_hinders_no_other(mesh: LocalMesh, name: str) -> None:
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}"}
    async with httpx2.AsyncClient(base_url=mesh.base_url, headers=headers, timeout=stretched(60)) as http:
        heavy = asyncio.create_task(http.post("/chat/completions", json=HELLO | HEAVY[name]))
        began = time.monotonic()
        light = [await http.post("/chat/completions", json=HELLO) for _ in range(3)]
        seconds = time.monotonic() - began
        response = await heavy
    assert [each.status_code for each in light] == [200] * 3
    assert seconds < stretched(20)
    assert response.status_code in {200, 400}, response.text


def member(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {"first": {"const": "x"}, "a": schema}
    return {"type": "object", "properties": properties, "required": ["first", "a"], "additionalProperties": False}


# As pydantic writes an HttpUrl; a text that spells a control token; and a shape that llama.cpp finds to be impossible
# only when it gets there.
URL = {"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083}
LITERAL = {"enum": ["<|im_end|>"]}
IMPOSSIBLE = {"allOf": [{"type": "integer", "maximum": -5}, {"multipleOf": 5}]}


async def ask(mesh: LocalMesh, **fields: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}"}
    async with httpx2.AsyncClient(base_url=mesh.base_url, headers=headers, timeout=stretched(60)) as http:
        return await http.post("/chat/completions", json=HELLO | {"max_tokens": 60, "temperature": 0} | fields)


def told(response: httpx2.Response) -> tuple[str, str]:
    """Returns the content and the reason of its end, whole or streamed."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        choice = response.json()["choices"][0]
        return choice["message"]["content"], choice["finish_reason"]
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    choices = [event["choices"][0] for event in events if event["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices), choices[-1]["finish_reason"]


@pytest.mark.parametrize("schema", [URL, LITERAL], ids=["url", "literal"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_shape_that_one_build_of_the_compiler_does_not_know_is_kept(
    mesh: LocalMesh, schema: dict[str, Any], stream: bool
) -> None:
    response = await ask(mesh, **schema_format(member(schema)), stream=stream)
    assert response.status_code == 200
    content, finish = told(response)
    assert content.startswith('{"first": "x", "a": "')
    if finish == "stop":
        assert jsonschema_rs.is_valid(member(schema), json.loads(content), validate_formats=True)
    else:
        # A small model may not end its URL by itself.
        assert (finish, schema) == ("length", URL)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_loses_its_shape_is_free(mesh: LocalMesh, stream: bool) -> None:
    def left() -> int:
        return int(mesh.command_now("balance", mesh.account_id)["available"])

    before = left()
    response = await ask(mesh, **schema_format(member(IMPOSSIBLE)), stream=stream)
    assert response.status_code == (200 if stream else 503)
    assert "could not keep the required shape" in response.text
    assert '"finish_reason":"' not in response.text.replace(" ", "")
    await eventually(lambda: left() == before)
