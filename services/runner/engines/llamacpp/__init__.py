"""The embedded engine: llama.cpp in this process, on the CPU."""

from services.runner.engines.llamacpp.engine import LlamaCppEngine

__all__ = ["LlamaCppEngine"]
