"""The ways in which families of models write function calls."""

from services.runner.kinds.text.prompt.formats.base import CallReader, ToolFormat
from services.runner.kinds.text.prompt.formats.detection import FORMATS, confirm_format, detect_format
from services.runner.kinds.text.prompt.formats.hermes import HermesFormat
from services.runner.kinds.text.prompt.formats.llama import LlamaFormat
from services.runner.kinds.text.prompt.formats.mistral import MistralArgsFormat, MistralFormat

__all__ = [
    "FORMATS",
    "CallReader",
    "HermesFormat",
    "LlamaFormat",
    "MistralArgsFormat",
    "MistralFormat",
    "ToolFormat",
    "confirm_format",
    "detect_format",
]
