"""What the document says about one method of one path, beside what its types say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Tag = Literal["Text", "Embeddings", "Audio", "Images", "Models", "Account", "Keys", "Document"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query or a header."""

    name: str
    schema: Mapping[str, Any]
    description: str
    place: Literal["query", "header"] = "query"


@dataclass(frozen=True, slots=True)
class Content:
    """A body: its type as msgspec knows it, or a JSON schema for what is not JSON."""

    type: Any = None
    schema: Mapping[str, Any] = field(default_factory=dict)
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    summary: str
    tag: Tag
    description: str = ""
    # What is sent, by media type.
    body: Mapping[str, Content] = field(default_factory=dict)
    # Whether a request without a body means the defaults.
    body_optional: bool = False
    # What a success returns, by media type.
    answer: Mapping[str, Content] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    # Whether it is charged, and therefore may be refused for want of credits, runners or a model.
    paid: bool = False
    # Whether the path, or the model that it names, may not exist.
    may_be_missing: bool = False
    public: bool = False
    # Types that nothing above refers to, such as those of the events of a stream.
    further_types: tuple[Any, ...] = ()


def json_content(type_: Any, example: Any) -> dict[str, Content]:
    """Returns a body that is JSON."""
    return {"application/json": Content(type_, example=example)}
