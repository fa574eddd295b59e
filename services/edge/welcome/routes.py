"""The routes that need no key and tell of no user."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.dependencies import Dependencies
from services.edge.route import TEXT, Content, Operation, PublicRoute, json_answer
from services.edge.welcome.health import Health, HealthBody
from services.edge.welcome.welcome import WelcomeBody, welcome

_WELCOME = Operation(
    summary="Tell what is here",
    tag="Service",
    description="Browsers get text.",
    answer={**json_answer(WelcomeBody()), "text/plain": Content(schema=TEXT)},
)
_HEALTH = Operation(
    summary="Tell whether this server takes requests",
    tag="Service",
    answer=json_answer(HealthBody()),
    may_be_unavailable=True,
)


def routes(edge: Dependencies) -> Sequence[PublicRoute]:
    """Returns the routes."""
    return [
        PublicRoute(path="/", handler=welcome, operation=_WELCOME, at_root=True),
        # The base URL itself, which people open in a browser.
        PublicRoute(path="", handler=welcome),
        PublicRoute(path="/health", handler=Health(edge.ready).serve, operation=_HEALTH, at_root=True),
    ]
