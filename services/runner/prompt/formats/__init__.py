"""The ways in which families of models write function calls."""

from services.runner.prompt.formats.base import CallReader, ToolFormat
from services.runner.prompt.formats.detection import FORMATS, detect_format
from services.runner.prompt.formats.hermes import HermesFormat
from services.runner.prompt.formats.llama import LlamaFormat
from services.runner.prompt.formats.mistral import MistralArgsFormat, MistralFormat

__all__ = [
    "FORMATS",
    "CallReader",
    "HermesFormat",
    "LlamaFormat",
    "MistralArgsFormat",
    "MistralFormat",
    "ToolFormat",
    "detect_format",
]
