"""The document holds every route, is valid OpenAPI 3.1, and its examples are what its types say."""

from __future__ import annotations

import json
import time
from typing import Any
from unittest.mock import MagicMock

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.edge.openapi.document import build_document
from services.edge.openapi.operations import OPERATIONS, REFUSALS
from services.edge.openapi.serving import registered_routes
from services.edge.service import EdgeService
from services.edge.settings import EdgeSettings

CONTENTS = [
    (f"{method} {path} {media_type}", content)
    for (method, path), operation in OPERATIONS.items()
    for media_type, content in [*operation.body.items(), *operation.answer.items()]
    if content.type is not None
]


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(build_document((method, "/v1" + path) for method, path in OPERATIONS))


def test_it_is_valid(document: Any) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


@pytest.mark.parametrize(("name", "content"), CONTENTS, ids=[name for name, _ in CONTENTS])
def test_examples_are_what_the_types_say(name: str, content: Any) -> None:
    assert content.example is not None, f"{name} needs an example"
    msgspec.convert(content.example, content.type, strict=True)


def test_every_route_is_described_and_every_operation_served() -> None:
    application = EdgeService(MagicMock(), EdgeSettings(), monotonic=time.monotonic).application()
    routes = {(method, path.removeprefix("/v1")) for method, path in registered_routes(application)}
    served = {(method, path) for method, path in routes if not path.startswith("/api/v1")}
    assert served == set(OPERATIONS) | REFUSALS


def test_every_operation_tells_its_errors(document: Any) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert {"200", "400", "500"} <= operation["responses"].keys(), path
            assert operation["summary"]


def test_only_public_operations_need_no_key(document: Any) -> None:
    public = {
        path for path, operations in document["paths"].items() for one in operations.values() if "security" in one
    }
    assert public == {"/v1/images/files/{name}", "/openapi.json"}


def test_a_route_that_is_not_registered_is_left_out() -> None:
    assert list(json.loads(build_document([("GET", "/v1/models"), ("GET", "/v1/other")]))["paths"]) == ["/v1/models"]
