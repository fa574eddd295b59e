"""One request of a browser, with what is known of the person behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from aiohttp import web

from services.console.http.forms import Form, form_token
from tiermesh.auth.v1 import auth_pb2, operators_pb2

# Of an owner at the console, or of an operator at the operators' console.
Session = auth_pb2.Session | operators_pb2.OperatorSession
# Paths of our own, to which a person may be sent: never another site, which `//` and `/\` would lead to.
_OWN_PATH = re.compile(r"/(?:[A-Za-z0-9_-]+/?)*")


@dataclass(slots=True)
class Visit:
    """A request that has passed the checks of its origin."""

    request: web.Request
    # What the cookie that ties forms to this browser holds: the session's token, or else some random text.
    cookie: str
    # None for a person who is not signed in.
    session: Session | None = None
    # What was sent; empty unless the request is a POST.
    form: Form = field(default_factory=lambda: Form({}))

    @property
    def form_token(self) -> str:
        """What every form on the page carries."""
        return form_token(self.cookie)

    @property
    def signed_in(self) -> Session:
        """The session, on pages for those who are signed in."""
        if self.session is None:
            raise RuntimeError("a page for signed-in people was served to somebody else")
        return self.session

    @property
    def owner(self) -> auth_pb2.Session:
        """The session, on pages for owners who are signed in."""
        if not isinstance(self.session, auth_pb2.Session):
            raise TypeError("a page for owners was served to somebody else")
        return self.session

    @property
    def operator(self) -> operators_pb2.OperatorSession:
        """The session, on pages for operators who are signed in."""
        if not isinstance(self.session, operators_pb2.OperatorSession):
            raise TypeError("a page for operators was served to somebody else")
        return self.session


def own_path(text: str) -> str:
    """Returns a path of ours, the first page for anything else."""
    return text if len(text) <= 200 and _OWN_PATH.fullmatch(text) else "/"
