"""Turns request bodies into typed values, and their mistakes into errors that name the field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from services.common.errors import Code, MeshError

BodyT = TypeVar("BodyT", bound=msgspec.Struct)

# msgspec ends its messages with the place of the mistake: "Expected `float`, got `str` - at `$.temperature`".
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<where>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
# "Invalid enum value 'banana'" and "Invalid value 'banana'": what was sent is not sent back, for it may be anything.
_QUOTED = re.compile(r"^Invalid (?:enum )?value .*$", re.DOTALL)


def parse_body(body: bytes, decoder: msgspec.json.Decoder[BodyT]) -> BodyT:
    """Decodes a JSON body; raises MeshError INVALID_REQUEST, with `param` where one field is at fault."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _field_error(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MeshError(Code.INVALID_REQUEST, f"The request body is not valid JSON: {error}.") from None
    except RecursionError:
        raise MeshError(Code.INVALID_REQUEST, "The request body is nested too deeply.") from None


def parse_fields(fields: Mapping[str, Any], kind: type[BodyT]) -> BodyT:
    """Reads the fields of a form, whose values are text; raises MeshError INVALID_REQUEST as `parse_body` does."""
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _field_error(str(error)) from None


def _field_error(message: str) -> MeshError:
    match = _PLACE.match(message)
    what, where = (match["what"], match["where"] or "") if match else (message, "")
    if missing := _MISSING.search(what):
        where = f"{where}.{missing['field']}" if where else missing["field"]
        return MeshError(Code.INVALID_REQUEST, f"Missing required parameter: '{where}'.", param=where)
    what = _QUOTED.sub("not one of the values that are allowed here", what).replace("`", "'")
    if not where:
        return MeshError(Code.INVALID_REQUEST, f"The request body is wrong: {what}.")
    return MeshError(Code.INVALID_REQUEST, f"Invalid value for '{where}': {what}.", param=where)


def invalid(param: str, message: str) -> MeshError:
    """Returns the error for one field that is well-typed but wrong."""
    return MeshError(Code.INVALID_REQUEST, message, param=param)
