"""Builds the OpenAPI 3.1 document: https://spec.openapis.org/oas/v3.1.1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.common.version import VERSION
from services.edge.http.errors import OPENAI_ERRORS, ErrorFormat
from services.edge.route import REFERENCE, AnyRoute, Content, Operation, Parameter, PublicRoute

# The prefix whose paths are described; the others serve the same.
_PREFIX = "/v1"
_TITLE = "tiermesh"
_DESCRIPTION = "An OpenAI-compatible inference API. The same paths are served under /api/v1."
_ERRORS = {
    400: "The request is wrong; the message says where.",
    401: "No key, or one that is unknown, expired or revoked.",
    402: "The balance is below the price, or the key has reached its monthly cap.",
    403: "The key lacks the scope that the message names, or its account is suspended or closed.",
    404: "There is no such model or object.",
    408: "The body took too long to arrive.",
    409: "A request with this Idempotency-Key runs or was charged.",
    413: "The body is too large.",
    417: "An Expect header other than 100-continue.",
    429: "The requests of this minute are used up; wait `retry-after` seconds.",
    500: "A defect; nothing was charged.",
    503: "A part of the mesh is not available, or all runners are busy; nothing was charged.",
}
_IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[ -~]{1,255}$"},
    "Your own name for the request: repeating it is charged at most once.",
    "header",
)


# Returns what wallets pay at the path of an endpoint; None if they cannot.
PaymentInfo = Callable[[str], dict[str, Any] | None]


def build_document(routes: Sequence[AnyRoute], payment_info: PaymentInfo | None = None) -> bytes:
    """Returns the document as JSON; routes without an operation are left out."""
    schemas, components = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.operation is not None:
            # OpenAPI names the parts of a path without what they may hold.
            path = web.DynamicResource(route.path).canonical
            full = path if route.at_root else _PREFIX + path
            described = _described(route, path, route.operation, schemas)
            if payment_info is not None and route.operation.paid and (info := payment_info(route.path)) is not None:
                described["x-payment-info"] = info
            paths.setdefault(full, {})[route.method.lower()] = described
    document = {
        "openapi": "3.1.0",
        "info": {"title": _TITLE, "version": VERSION, "description": _DESCRIPTION, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "security": [{"apiKey": []}, {"apiKeyHeader": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "`sk-tiermesh-…`"},
                "apiKeyHeader": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key."},
            },
        },
    }
    return msgspec.json.encode(document)


def _errors(route: AnyRoute) -> ErrorFormat:
    return OPENAI_ERRORS if isinstance(route, PublicRoute) else route.errors


def _schemas(routes: Iterable[AnyRoute]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Returns the schema of each type, and the components that they refer to."""
    types: list[Any] = [OPENAI_ERRORS.body]
    for route in routes:
        operation = route.operation
        if operation is None:
            continue
        types.append(_errors(route).body)
        bodies = (*operation.body.values(), *operation.answer.values())
        types += [content.type for content in bodies if content.type is not None]
        types += operation.further_types
    types = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    return dict(zip(types, schemas, strict=True)), components


def _described(route: AnyRoute, path: str, operation: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    public, errors = isinstance(route, PublicRoute), _errors(route)
    described: dict[str, Any] = {
        "operationId": _operation_id(route.method, path),
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(path), *_parameters(operation)],
        "responses": {
            "200": {"description": "Success.", "content": _content(operation.answer, schemas)},
            **{
                str(errors.status(status)): _error(status, schemas[errors.body])
                for status in _statuses(operation, public=public)
            },
        },
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body:
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": _content(operation.body, schemas),
        }
    if public:
        described["security"] = []
    return described


def _operation_id(method: str, path: str) -> str:
    words = path.replace(".", "/").replace("_", "/").replace("-", "/").replace("{", "").replace("}", "").split("/")
    return method.lower() + ("".join(word.capitalize() for word in words) or "Root")


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters = (*operation.parameters, _IDEMPOTENCY_KEY) if operation.paid else operation.parameters
    return [
        {"name": each.name, "in": each.place, "schema": each.schema, "description": each.description}
        for each in parameters
    ]


def _content(contents: Mapping[str, Content], schemas: Mapping[Any, Any]) -> dict[str, Any]:
    described = {}
    for media_type, content in contents.items():
        described[media_type] = {"schema": content.schema if content.type is None else schemas[content.type]}
        if content.example is not None:
            described[media_type]["example"] = content.example
    return described


def _error(status: int, schema: Any) -> dict[str, Any]:
    return {"description": _ERRORS[status], "content": {"application/json": {"schema": schema}}}


def _statuses(operation: Operation, *, public: bool) -> list[int]:
    statuses = {400, 417, 500}
    if not public:
        statuses |= {401, 403, 429, 503}
    if operation.may_be_unavailable:
        statuses.add(503)
    if operation.body:
        statuses |= {408, 413}
    if operation.paid:
        statuses |= {402, 404, 409}
    if operation.may_be_missing:
        statuses.add(404)
    return sorted(statuses)
