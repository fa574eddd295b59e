"""Finds out how a model writes function calls from its chat template, which shows it calls of the past."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from services.runner.kinds.text.prompt.formats.base import ToolFormat
from services.runner.kinds.text.prompt.formats.harmony import HarmonyFormat
from services.runner.kinds.text.prompt.formats.hermes import HermesFormat
from services.runner.kinds.text.prompt.formats.llama import LLAMA4, LlamaFormat
from services.runner.kinds.text.prompt.formats.mistral import ARGUMENTS_TAG, CALLS_TAG, MistralArgsFormat, MistralFormat
from services.runner.kinds.text.prompt.formats.pythonic import PythonicFormat
from services.runner.kinds.text.prompt.formats.sections import DEEPSEEK, DEEPSEEK_V3, KIMI, SectionFormat
from services.runner.kinds.text.prompt.formats.tagged import GLM, QWEN3_CODER, TaggedFormat
from services.runner.kinds.text.prompt.output import ParsedText

FORMATS: dict[str, ToolFormat] = {
    known.name: known
    for known in (
        HermesFormat(),
        LlamaFormat(),
        MistralFormat(),
        MistralArgsFormat(),
        TaggedFormat("qwen3-coder", QWEN3_CODER),
        TaggedFormat("glm", GLM),
        HarmonyFormat(),
        SectionFormat("deepseek", DEEPSEEK),
        SectionFormat("deepseek-v3", DEEPSEEK_V3),
        SectionFormat("kimi", KIMI),
        LLAMA4,
        PythonicFormat(),
    )
}
# Formats without a reader: what only their templates hold, and whose it is.
_UNREAD = {
    "<seed:tool_call>": "Seed-OSS",
    "\uff5cDSML\uff5c": "DeepSeek V3.2",
    "<|tool_call>": "Gemma 4",
    "<start_function_call>": "FunctionGemma",
    "<|tool_call_start|>": "LFM2",
    "<minimax:tool_call>": "MiniMax",
    "<|START_ACTION|>": "Command",
    "<TOOLCALL>": "Nemotron",
    "<|tool_call|>": "Granite, Phi",
}
# What only the templates of a format hold, all of it; the first that fits counts, as some have the tag of another one.
_SIGNS: Sequence[tuple[Sequence[str], str]] = (
    (("<|channel|>", "<|message|>"), "harmony"),
    ((DEEPSEEK.section, "```json"), "deepseek-v3"),
    ((DEEPSEEK.section,), "deepseek"),
    ((KIMI.section, KIMI.call), "kimi"),
    (("<function=", "<parameter="), "qwen3-coder"),
    (("<arg_key>", "<arg_value>"), "glm"),
    ((CALLS_TAG, ARGUMENTS_TAG), "mistral-args"),
    ((CALLS_TAG,), "mistral"),
    (("<tool_call>",), "hermes"),
    # So all published templates explain it.
    (("func_name1(",), "pythonic"),
    (("<|python_tag|>",), "llama"),
    # These may have no tag in their templates, but are told the key of the arguments.
    (('"parameters"', "<|start_header_id|>"), "llama"),
    (('"parameters"', "<|header_start|>"), "llama4"),
)
_JINJA_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_TOOLS = re.compile(r"\btools\b|\btool_calls\b")
# A call of the past, as documents for a template. Some templates want ids of nine characters.
_QUESTION = "Which probe is it?"
_NAME, _ARGUMENTS = "read_probe", {"probe_key": "probe value"}
_PROBE: Sequence[Mapping[str, Any]] = (
    {"role": "user", "content": _QUESTION},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "probe0001", "type": "function", "function": {"name": _NAME, "arguments": _ARGUMENTS}}],
    },
    {"role": "tool", "tool_call_id": "probe0001", "name": "probe_result", "content": "It is the first."},
)


def detect_format(template: str) -> ToolFormat:
    """Returns the format of a chat template; Hermes, the most common, if the template knows nothing of tools.

    Raises ValueError, with the reason, if the template shows calls in a format that has no reader: they would reach
    clients as text.
    """
    template = _JINJA_COMMENT.sub("", template)
    for sign, models in _UNREAD.items():
        if sign in template:
            raise ValueError(_refusal(f"the format of {models}"))
    for signs, name in _SIGNS:
        if all(sign in template for sign in signs):
            return FORMATS[name]
    if _TOOLS.search(template):
        raise ValueError(_refusal("a format that is not known"))
    return FORMATS["hermes"]


def confirm_format(found: ToolFormat, render: Callable[[Sequence[Mapping[str, Any]]], str]) -> bool:
    """Returns whether the template itself writes a call as the format's reader reads it.

    `render` renders messages. A template that refuses the conversation, or shows no calls of the past, says nothing.
    Raises ValueError if it writes a call that is none to the reader.
    """
    try:
        prompt = render(_PROBE)
    except Exception:  # noqa: BLE001 - templates fail in any way, and those that want other messages may be right
        return False
    written = prompt.rpartition(_QUESTION)[2]
    if _NAME not in written:
        return False
    if not any(_reads(found, written[start:]) for start in _beginnings(written)):
        raise ValueError(_refusal("a format that is not known"))
    return True


def _beginnings(written: str) -> Iterator[int]:
    """Yields where an answer with the call may begin: what a template puts before it is not known here."""
    end = written.index(_NAME)
    yield from (at for at in range(end + 1) if written[at] in "{[<")


def _reads(found: ToolFormat, answer: str) -> bool:
    out = ParsedText()
    reader = found.reader({_NAME: {}}, lambda: "")
    reader.feed(answer, out)
    reader.finish(out, cut=False)
    name = "".join(call.name for call in out.calls if call.index == 0)
    arguments = "".join(call.arguments for call in out.calls if call.index == 0)
    try:
        return name == _NAME and json.loads(arguments) == _ARGUMENTS
    except ValueError:
        return False


def _refusal(found: str) -> str:
    known = ", ".join(FORMATS)
    return (
        f"the chat template writes function calls in {found}, which cannot be read; the formats that can be read are: "
        f"{known}. Serve a model that writes one of them, or a template without tools"
    )
