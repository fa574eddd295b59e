"""What a server says that decides how its model is sold."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp

from services.common.catalog import Kind
from services.common.model_file import ModelServer
from services.runner.engines.upstream.server import find_server, headers, listed_voices


async def ask_server(
    url: str, key: str = "", model: str = "", kind: Kind | None = None, voices: Sequence[str] = ()
) -> ModelServer:
    """Returns the facts of the model at a server, which is for work of the `kind` if one is given.

    A model that speaks has the `voices` that are given, or those that the server lists. Raises SettingsError if it
    cannot be used.
    """
    async with aiohttp.ClientSession(headers=headers(key), trust_env=False) as session:
        server = await find_server(session, url, model, kind)
        if server.kind == "speech" and not voices:
            voices = await listed_voices(session, server)
    return ModelServer(
        model=server.model,
        origin=f"{server.quirks.name} at {server.base_url}",
        kind=server.kind,
        context=server.context,
        slots=server.slots,
        tools=server.tools,
        thinking=server.thinking,
        voices=tuple(voices),
    )
