"""What a server says that decides how its model is sold."""

from __future__ import annotations

import aiohttp

from services.common.model_file import ModelServer
from services.runner.engines.upstream.server import find_server, headers


async def ask_server(url: str, key: str = "", model: str = "") -> ModelServer:
    """Returns the facts of the model at a server; raises SettingsError if it cannot be used."""
    async with aiohttp.ClientSession(headers=headers(key), trust_env=False) as session:
        server = await find_server(session, url, model)
    return ModelServer(
        model=server.model,
        kind=f"{server.quirks.name} at {server.base_url}",
        context=server.context,
        slots=server.slots,
        tools=server.tools,
        thinking=server.thinking,
    )
