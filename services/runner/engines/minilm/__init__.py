"""The embedded engine for embeddings: llama.cpp in this process, with all-MiniLM-L6-v2 or another encoder."""

from services.runner.engines.minilm.engine import MiniLmEngine

__all__ = ["MiniLmEngine"]
