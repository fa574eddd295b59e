"""Finds out how a model writes function calls from its chat template, which shows it calls of the past."""

from __future__ import annotations

from services.runner.kinds.text.prompt.formats.base import ToolFormat
from services.runner.kinds.text.prompt.formats.hermes import HermesFormat
from services.runner.kinds.text.prompt.formats.llama import LlamaFormat
from services.runner.kinds.text.prompt.formats.mistral import ARGUMENTS_TAG, CALLS_TAG, MistralArgsFormat, MistralFormat

FORMATS: dict[str, ToolFormat] = {
    known.name: known for known in (HermesFormat(), LlamaFormat(), MistralFormat(), MistralArgsFormat())
}


def detect_format(template: str) -> ToolFormat:
    """Returns the format of a chat template; Hermes, the most common, if it does not tell."""
    if CALLS_TAG in template:
        return FORMATS["mistral-args" if ARGUMENTS_TAG in template else "mistral"]
    if "<tool_call>" not in template and "<|python_tag|>" in template:
        return FORMATS["llama"]
    # The small Llama models have no tag, but are told the key of the arguments.
    if "<tool_call>" not in template and '"parameters"' in template and "<|start_header_id|>" in template:
        return FORMATS["llama"]
    return FORMATS["hermes"]
