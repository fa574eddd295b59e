"""Renders the HTTP API, from the OpenAPI document that the edge serves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from markdown import code, escape, table

from services.edge.openapi.document import build_document
from tests.support.edge_routes import edge_routes

_INTRODUCTION = """# HTTP API reference

This page lists every endpoint and every type. [HTTP API](../api.md) explains how they behave. The edge serves the same content as an OpenAPI 3.1 document at `GET /openapi.json`.

"""  # noqa: E501 - a paragraph of Markdown is one line.
_Schema = Mapping[str, Any]
# The bounds of JSON Schema, and how they are said.
_BOUNDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}


def api_page() -> str:
    """Returns the page."""
    document = json.loads(build_document(edge_routes()))
    parts = [_INTRODUCTION, "## Endpoints\n\n"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += _endpoint(f"{method.upper()} {path}", operation)
    parts.append("## Types\n\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += _component(name, schema)
    return "".join(parts).rstrip("\n") + "\n"


def _endpoint(title: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {title}\n\n{_sentence(operation['summary'])}"
    yield f" {escape(operation['description'])}\n\n" if "description" in operation else "\n\n"
    if parameters := operation.get("parameters"):
        rows = [
            (code(each["name"]), each["in"], _type(each["schema"]), escape(each.get("description", "")))
            for each in parameters
        ]
        yield table(("parameter", "in", "type", "meaning"), rows)
    if body := operation.get("requestBody"):
        yield table(("request body", "type"), _content(body["content"]))
    successes = [
        (status, _sentence(response["description"]), ", ".join(" ".join(row) for row in _content(response["content"])))
        for status, response in operation["responses"].items()
        if status == "200"
    ]
    yield table(("status", "meaning", "body"), successes)
    errors = {status: each for status, each in operation["responses"].items() if status != "200"}
    if errors:
        yield "Errors have the body `ErrorBody`:\n\n"
        yield table(("status", "meaning"), [(status, escape(each["description"])) for status, each in errors.items()])


def _content(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(code(media), _type(each.get("schema", {}))) for media, each in content.items()]


def _component(name: str, schema: _Schema) -> Iterator[str]:
    yield f"### {name}\n\n"
    if description := schema.get("description"):
        yield f"{escape(' '.join(description.split()))}\n\n"
    if properties := schema.get("properties"):
        required = schema.get("required", ())
        rows = [
            (code(key), _type(value), "yes" if key in required else "no", _default(value))
            for key, value in properties.items()
        ]
        yield table(("field", "type", "required", "default"), rows)
    else:
        yield f"{_type(schema)}\n\n"


def _type(schema: _Schema) -> str:
    """Says which values a schema allows."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "allOf" in schema:
        return " and ".join(_type(each) for each in schema["allOf"])
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(each) for each in alternatives))
    if "enum" in schema:
        return ", ".join(code(json.dumps(value)) for value in schema["enum"])
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    words = [_plain(schema), *(text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema)]
    return ", ".join(words)


def _plain(schema: _Schema) -> str:
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
        case "object" if isinstance(values := schema.get("additionalProperties"), dict) and values:
            return f"object of {_type(values)}"
        case list() as types:
            return " or ".join(types)
        case None:
            return "any value" if "contentMediaType" not in schema else "bytes"
        case type_:
            return str(type_)


def _default(schema: _Schema) -> str:
    return code(json.dumps(schema["default"])) if "default" in schema else ""


def _sentence(text: str) -> str:
    return escape(text if text.endswith(".") else f"{text}.")
