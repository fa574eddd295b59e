"""GET /: tells who opens the address of the API what is here, as JSON for programs and as text for people."""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from msgspec import Struct

from services.edge.http.parsing import json_response

DESCRIPTION = "An inference API that OpenAI's clients can use."
_TEXT = f"""tiermesh: {DESCRIPTION}

base URL for clients   /v1
models (with a key)    /v1/models
OpenAPI document       /openapi.json
health                 /health

Send your API key as "Authorization: Bearer sk-tiermesh-...".
"""


class WelcomeBody(Struct, frozen=True):
    """What is here; URLs are relative to the one that was asked for."""

    name: Literal["tiermesh"] = "tiermesh"
    description: str = DESCRIPTION
    # What clients take as the base URL, after the address of this server.
    base_url: str = "/v1"
    # The list of models; it needs a key.
    models: str = "/v1/models"
    # The OpenAPI document, which describes every endpoint.
    openapi: str = "/openapi.json"
    health: str = "/health"


async def welcome(request: web.Request) -> web.Response:
    """Answers the request."""
    response = web.Response(text=_TEXT) if _wants_text(request) else json_response(WelcomeBody())
    response.headers["Vary"] = "Accept"
    return response


def _wants_text(request: web.Request) -> bool:
    """Whether a request prefers text, as browsers do; programs take anything, or ask for JSON."""
    accepted = ",".join(request.headers.getall("Accept", ())).lower()
    return "text/" in accepted and "json" not in accepted
