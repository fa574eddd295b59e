"""Turns request bodies into typed values, and their mistakes into errors that name the field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from services.common.errors import Code, MeshError

BodyT = TypeVar("BodyT", bound=msgspec.Struct)
# msgspec ends its messages with the place of the mistake: "Expected `float`, got `str` - at `$.temperature`".
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<where>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
# "Invalid enum value 'banana'" and "Invalid value 'banana'": what was sent is not sent back, for it may be anything.
_QUOTED = re.compile(r"^Invalid (?:enum )?value .*$", re.DOTALL)
# One step on the way to such a place: a field, or what is in a list or a dictionary.
_STEP = re.compile(r"\[[^\]]*\]|[^.\[]+")
# It takes milliseconds, and there are few bodies.
_type_info = cache(msgspec.inspect.type_info)


def json_response(body: object) -> web.Response:
    """Returns a response of status 200 with a JSON body."""
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def parse_body(body: bytes, decoder: msgspec.json.Decoder[BodyT]) -> BodyT:
    """Decodes a JSON body; raises MeshError INVALID_REQUEST, with `param` where one field is at fault."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _field_error(str(error), decoder.type) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MeshError(Code.INVALID_REQUEST, f"The request body is not valid JSON: {error}.") from None
    except RecursionError:
        raise MeshError(Code.INVALID_REQUEST, "The request body is nested too deeply.") from None


def parse_fields(fields: Mapping[str, Any], kind: type[BodyT]) -> BodyT:
    """Reads the fields of a form, whose values are text; raises MeshError INVALID_REQUEST as `parse_body` does."""
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _field_error(str(error), kind) from None


def _field_error(message: str, kind: Any) -> MeshError:
    match = _PLACE.match(message)
    what, where = (match["what"], match["where"] or "") if match else (message, "")
    if missing := _MISSING.search(what):
        where = f"{where}.{missing['field']}" if where else missing["field"]
        return MeshError(Code.INVALID_REQUEST, f"Missing required parameter: '{where}'.", param=where)
    if _QUOTED.match(what):
        what = f"it must be {_allowed(kind, where)}"
    what = what.replace("`", "'")
    if not where:
        return MeshError(Code.INVALID_REQUEST, f"The request body is wrong: {what}.")
    return MeshError(Code.INVALID_REQUEST, f"Invalid value for '{where}': {what}.", param=where)


def _allowed(kind: Any, where: str) -> str:
    """Returns the values that the type of a body has at a place: "'low' or 'high'"."""
    found = _variants(_type_info(kind))
    for step in _STEP.findall(where):
        found = [inner for outer in found for inner in _inside(outer, step)]
    values = [value for one in found if isinstance(one, msgspec.inspect.LiteralType) for value in one.values]
    texts = [f"'{value}'" if isinstance(value, str) else msgspec.json.encode(value).decode() for value in values]
    return " or ".join([", ".join(texts[:-1]), *texts[-1:]] if len(texts) > 1 else texts) or "another value"


def _inside(outer: msgspec.inspect.Type, step: str) -> list[msgspec.inspect.Type]:
    """Returns the types of what is one step inside of a value of this type."""
    if isinstance(outer, msgspec.inspect.ListType):
        return _variants(outer.item_type)
    if isinstance(outer, msgspec.inspect.DictType):
        return _variants(outer.value_type)
    if not isinstance(outer, msgspec.inspect.StructType):
        return []
    if step == outer.tag_field:
        return [msgspec.inspect.LiteralType((outer.tag,))]
    return [variant for field in outer.fields if field.encode_name == step for variant in _variants(field.type)]


def _variants(kind: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    """Returns the alternatives of a union, or the type itself."""
    return list(kind.types) if isinstance(kind, msgspec.inspect.UnionType) else [kind]


def invalid(param: str, message: str) -> MeshError:
    """Returns the error for one field that is well-typed but wrong."""
    return MeshError(Code.INVALID_REQUEST, message, param=param)
