"""The engines for each kind of work of a server: each hands its jobs to the server."""

from services.runner.engines.upstream.kinds.configured import configured_engine

__all__ = ["configured_engine"]
