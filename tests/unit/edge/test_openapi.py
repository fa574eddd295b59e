"""The document is valid OpenAPI 3.1, and its examples are what its types say."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.edge.openapi.document import build_document
from services.edge.route import AnyRoute, Operation, PublicRoute, Route
from tests.support.edge_routes import edge_operations, edge_routes

CONTENTS = [
    (f"{method} {path} {media_type}", content)
    for (method, path), operation in edge_operations().items()
    for media_type, content in [*operation.body.items(), *operation.answer.items()]
    if content.type is not None
]


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(build_document(edge_routes()))


def test_it_is_valid(document: Any) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


@pytest.mark.parametrize(("name", "content"), CONTENTS, ids=[name for name, _ in CONTENTS])
def test_examples_are_what_the_types_say(name: str, content: Any) -> None:
    assert content.example is not None, f"{name} needs an example"
    msgspec.json.decode(msgspec.json.encode(content.example), type=content.type, strict=True)


def test_every_operation_tells_its_errors(document: Any) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert {"200", "400", "500"} <= operation["responses"].keys(), path
            assert operation["summary"]


@pytest.mark.parametrize(
    ("path", "unavailable", "body"),
    [("/v1/chat/completions", "503", "ErrorBody"), ("/v1/messages", "529", "AnthropicErrorBody")],
)
def test_errors_are_described_as_their_route_writes_them(document: Any, path: str, unavailable: str, body: str) -> None:
    responses = document["paths"][path]["post"]["responses"]
    assert {"503", "529"} & responses.keys() == {unavailable}
    for status in ("401", "413", unavailable):
        schema = responses[status]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{body}"}


def test_only_public_operations_need_no_key(document: Any) -> None:
    public = {
        path for path, operations in document["paths"].items() for one in operations.values() if "security" in one
    }
    assert public == {
        "/", "/.well-known/jwks.json", "/health", "/openapi.json", "/v1/audio/models", "/v1/audio/voices",
        "/v1/images/files/{name}",
    }  # fmt: skip


def test_a_path_is_written_as_openapi_does(document: Any) -> None:
    assert "/v1/models/{model}" in document["paths"]
    parameters = document["paths"]["/v1/models/{model}"]["get"]["parameters"]
    assert [(each["name"], each["in"]) for each in parameters] == [("model", "path"), ("anthropic-version", "header")]


def test_a_route_that_only_refuses_is_left_out() -> None:
    async def refuse(*_: object) -> Any:
        raise NotImplementedError

    operation = Operation(summary="Tell the time", tag="Clock", answer={})
    routes: list[AnyRoute] = [
        Route(method="GET", path="/old", name="old", scope="models", handler=refuse),
        Route(method="GET", path="/new", name="new", scope="models", handler=refuse, operation=operation),
        PublicRoute(path="/open", handler=refuse, operation=operation),
    ]
    assert list(json.loads(build_document(routes))["paths"]) == ["/v1/new", "/v1/open"]
