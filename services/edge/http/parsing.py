"""Turns request bodies into typed values, and their mistakes into errors that name the field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.limits.json_nesting import check_nesting
from services.edge.http.type_words import describe, describe_choices, describe_given

BodyT = TypeVar("BodyT")
# msgspec ends its messages with the place of the mistake: "Expected `float`, got `str` - at `$.temperature`".
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<where>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
# "Invalid enum value 'banana'" and "Invalid value 'banana'", where values can be listed.
_LISTED = re.compile(r"^Invalid (?:enum )?value ")
_GIVEN = re.compile(r", got `(?P<name>\w+)`$")
# Words that msgspec has for an escape that is half of a surrogate pair; the second ones where nobody asks for the text.
_OF_HALVES = ("surrogate", "unexpected end of hex escape")
# An escape that is half of a surrogate pair, so near to the end of a body that msgspec only says that it is truncated.
_HALF_AT_END = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F]).{0,6}\Z", re.DOTALL)
# One step on the way to such a place: a field, or what is in a list or a dictionary.
_STEP = re.compile(r"\[[^\]]*\]|[^.\[]+")


def json_response(body: object) -> web.Response:
    """Returns a response of status 200 with a JSON body."""
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def parse_body(body: bytes, decoder: msgspec.json.Decoder[BodyT]) -> BodyT:
    """Decodes a JSON body; raises MeshError INVALID_REQUEST, with `param` where one field is at fault."""
    try:
        check_nesting(body)
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _field_error(str(error), decoder.type) from None
    except msgspec.DecodeError as error:
        reason = str(error)
        if any(word in reason for word in _OF_HALVES) or ("truncated" in reason and _ends_in_half(body)):
            reason = (
                "an escape such as \\ud83d in it is half of a surrogate pair; send both halves, or the character itself"
            )
        raise _not_json(reason) from None
    except UnicodeDecodeError:
        raise _not_json("its strings must be Unicode text in UTF-8, without halves of surrogate pairs") from None
    except RecursionError:
        raise MeshError(Code.INVALID_REQUEST, "The request body is nested too deeply; make it flatter.") from None


def _ends_in_half(body: bytes) -> bool:
    half = _HALF_AT_END.search(body, len(body) - 12)
    before = body[: half.start()] if half else b""
    # After a backslash that is itself escaped, it is text.
    return half is not None and (len(before) - len(before.rstrip(b"\\"))) % 2 == 0


def _not_json(reason: str) -> MeshError:
    return MeshError(Code.INVALID_REQUEST, f"The request body is not valid JSON: {reason}.")


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
        return invalid(where, f"'{where}' is required; add it.")
    # What is in a dictionary has no place of its own, for its name may be anything: the dictionary is described.
    where, inside, _ = where.partition("[...]")
    if not where:
        return MeshError(
            Code.INVALID_REQUEST, "The request body must be a JSON object with the fields of this endpoint."
        )
    steps = _STEP.findall(where)
    # What was sent is not sent back, for it may be anything.
    wanted = describe_choices(kind, steps) if _LISTED.match(what) else describe(kind, steps)
    given = None if inside else _GIVEN.search(what)
    sent = f"; {describe_given(given['name'])} was sent" if given else ""
    return invalid(where, f"'{where}' must be {wanted or 'another value'}{sent}.")


def invalid(param: str, message: str) -> MeshError:
    """Returns the error for one field that is well-typed but wrong."""
    return MeshError(Code.INVALID_REQUEST, message, param=param)
