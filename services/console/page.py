"""A page: how it is called, who may see it and what answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from aiohttp import web

from services.console.visit import Visit

Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A route of the console."""

    method: Literal["GET", "POST"] = "GET"
    path: str
    # The label of its metrics.
    name: str
    handler: Handler
    # Whether people see it who are not signed in.
    public: bool = False
    # Whether people see it who have signed in with a recovery code, which is there for nothing else.
    recovering: bool = False
    # Whether a script of ours sends JSON to it in place of a form; such a page answers with JSON, too.
    json: bool = False
    # How long its answer may take, in seconds; None for as long as all pages.
    seconds: float | None = None


class Pages(Protocol):
    """What serves some pages."""

    def pages(self) -> tuple[Page, ...]:
        """Returns their routes."""
