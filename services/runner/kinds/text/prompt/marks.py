"""Special tokens of models that mean something to the parser of answers, so that engines show them as text."""

from __future__ import annotations

MARKS = frozenset(
    {
        "<think>", "</think>", "<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]",
        "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>",
        "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>",
    }
)  # fmt: skip
