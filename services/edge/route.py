"""A route of the API: how it is called, who may call it, what serves it and what the OpenAPI document says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from aiohttp import web
from msgspec import Struct

from services.common.scopes import Scope
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.http.errors import OPENAI_ERRORS, ErrorFormat

Handler = Callable[[web.Request, RequestContext, Principal], Awaitable[web.StreamResponse]]
PublicHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Method = Literal["GET", "POST", "DELETE"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
# The JSON schema of any text.
TEXT: Mapping[str, Any] = {"type": "string"}
# Where the document has the schema of a type.
REFERENCE: Final = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query or a header."""

    name: str
    schema: Mapping[str, Any]
    description: str
    place: Literal["query", "header"] = "query"


@dataclass(frozen=True, slots=True)
class Content:
    """A body: its type as msgspec knows it, or a JSON schema for what is not JSON. No schema stands for bytes."""

    type: Any = None
    schema: Mapping[str, Any] = field(default_factory=dict)
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What the document says of a route, beside what its types say."""

    summary: str
    # The heading under which it stands.
    tag: str
    description: str = ""
    # What is sent, by media type.
    body: Mapping[str, Content] = field(default_factory=dict)
    # Whether a request without a body means the defaults.
    body_optional: bool = False
    # What a success returns, by media type.
    answer: Mapping[str, Content]
    parameters: tuple[Parameter, ...] = ()
    # Whether it is charged, and therefore may be refused for want of credits, runners or a model.
    paid: bool = False
    # Whether the path, or the model that it names, may not exist.
    may_be_missing: bool = False
    # Whether it may be refused because a part of the mesh is away, if it needs no key; one with a key always may.
    may_be_unavailable: bool = False
    # Types that nothing above refers to, such as those of the events of a stream.
    further_types: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route for requests with an API key."""

    method: Method
    # What follows the prefix of the API, with `{name}` or `{name:pattern}` for a part of any content.
    path: str
    # The label of its metrics and the field of its logs; routes may share one.
    name: str
    # What a key needs to be let in.
    scope: Scope
    handler: Handler
    # None for a route that only says why there is nothing. OpenAI's clients know these paths, so they get a better
    # answer than that the URL is unknown.
    operation: Operation | None = None
    # How its errors are written, those included that no handler of its sees. Routes of one path share it.
    errors: ErrorFormat = OPENAI_ERRORS
    # Whether the path is served without a prefix too, and described so.
    at_root: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicRoute:
    """A route that needs no API key, and whose requests are not counted."""

    method: Literal["GET"] = "GET"
    path: str
    handler: PublicHandler
    # None for a path that only says the same as another.
    operation: Operation | None = None
    # Whether the path is served without a prefix too, and described so.
    at_root: bool = False


AnyRoute: TypeAlias = Route | PublicRoute


def reference(kind: type[Struct]) -> str:
    """Returns the place of a type's schema in the document."""
    return REFERENCE.format(name=kind.__name__)


def json_body(kind: type[Struct], example: Mapping[str, Any]) -> dict[str, Content]:
    """Returns a request body that is JSON; the example holds the fields that a client would send."""
    return {"application/json": Content(kind, example=example)}


def json_answer(example: Struct) -> dict[str, Content]:
    """Returns an answer that is JSON, of the type that its example has."""
    return {"application/json": Content(type(example), example=example)}


def event_stream(example: str | None = None) -> dict[str, Content]:
    """Returns an answer that is a stream of server-sent events."""
    return {"text/event-stream": Content(schema=TEXT, example=example)}
