"""The embedded engine for embeddings: llama.cpp in this process, with all-MiniLM-L6-v2 or another encoder."""

from services.runner.engines.minilm.engine import MiniLmEngine
from services.runner.engines.minilm.model_file import GgufModel, PackagedMiniLm, default_cache

__all__ = ["GgufModel", "MiniLmEngine", "PackagedMiniLm", "default_cache"]
