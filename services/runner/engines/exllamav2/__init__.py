"""The production engine: ExLlamaV2 on NVIDIA GPUs. Importing this package imports neither torch nor the library."""

from services.runner.engines.exllamav2.engine import ExLlamaV2Engine
from services.runner.engines.exllamav2.options import CacheFormat, ExLlamaV2Options

__all__ = ["CacheFormat", "ExLlamaV2Engine", "ExLlamaV2Options"]
