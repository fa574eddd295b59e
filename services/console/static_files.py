"""Serves the scripts and styles. They are few and small, so they are in memory."""

from __future__ import annotations

import mimetypes

from aiohttp import web

from services.console.rendering import STATIC

_FOR_EVER = "public, max-age=31536000, immutable"


class StaticFiles:
    """Serves each file at any URL that ends with its name: the part before is there to change with its content."""

    def __init__(self) -> None:
        self._files = {path.name: (path.read_bytes(), _type(path.name)) for path in STATIC.iterdir() if path.is_file()}

    async def serve(self, request: web.Request) -> web.Response:
        """Answers GET /static/{digest}/{name}."""
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        body, content_type = found
        return web.Response(body=body, content_type=content_type, headers={"Cache-Control": _FOR_EVER})


def _type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
