"""The embedded engine: llama.cpp in this process, on the CPU."""

from services.runner.engines.llamacpp.engine import LlamaCppEngine
from services.runner.engines.llamacpp.smollm2 import find_smollm2

__all__ = ["LlamaCppEngine", "find_smollm2"]
