"""Schemas and tools that would keep an engine busy for ever are refused or done with, and hinder nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh

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
