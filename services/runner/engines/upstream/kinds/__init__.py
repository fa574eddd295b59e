"""The engines for what a server with OpenAI's API does beside chats: each hands its jobs to the server."""

from services.runner.engines.upstream.kinds.configured import configured_engine

__all__ = ["configured_engine"]
