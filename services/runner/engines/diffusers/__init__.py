"""The engine for images: a text-to-image pipeline of the diffusers library."""

from services.runner.engines.diffusers.engine import DiffusersEngine

__all__ = ["DiffusersEngine"]
