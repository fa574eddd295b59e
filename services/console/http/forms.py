"""Reads forms, and tells those of our own pages from those of other sites.

A form of ours carries a token that is derived from a cookie, so that nothing has to be stored: another site can send a
form but read neither the cookie nor the page.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from aiohttp import web

from services.common.errors import Code, MeshError

FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
# In which scripts of ours send it beside JSON. No form of another site can send a header.
FORM_TOKEN_HEADER = "X-Form-Token"  # noqa: S105 - the name of a header
MOST_BYTES = 64 * 1024
_MOST_FIELDS = 200
_TYPE = "application/x-www-form-urlencoded"


class Form:
    """The fields of a form; a field that is missing is an empty one."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """Returns the first value of a field, without spaces around it."""
        return self._fields.get(name, ("",))[0].strip()

    def texts(self, name: str) -> Sequence[str]:
        """Returns every value of a field, as checkboxes of one name have."""
        return self._fields.get(name, ())

    def number(self, name: str, label: str, most: int) -> int | None:
        """Returns a whole number from 0 to `most`, None for an empty field; raises MeshError INVALID_REQUEST."""
        text = self.text(name)
        if not text:
            return None
        # Longer digits are no limit of anything, and cost time to read.
        if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= most):
            raise MeshError(Code.INVALID_REQUEST, f"{label} must be a whole number from 0 to {most:,}.", param=name)
        return int(text)


async def read_form(request: web.Request) -> Form:
    """Reads the body; raises MeshError INVALID_REQUEST for what no form of ours sends."""
    if request.content_type != _TYPE:
        raise _broken()
    try:
        text = (await request.read()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise _broken() from error
    fields: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        fields[name].append(value)
    return Form(fields)


def form_token(cookie: str) -> str:
    """Returns the token of forms on pages for the browser with this cookie."""
    return hmac.digest(cookie.encode(), b"tiermesh form", hashlib.sha256).hex()


def is_form_token(token: str, cookie: str) -> bool:
    """Tells whether a form that the browser with this cookie has sent is one of ours."""
    return bool(cookie) and hmac.compare_digest(token.encode(errors="replace"), form_token(cookie).encode())


def _broken() -> MeshError:
    return MeshError(Code.INVALID_REQUEST, "The form could not be read. Go back, reload the page and try again.")
