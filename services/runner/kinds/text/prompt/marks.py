"""Special tokens of models that mean something to the parser of answers, so that engines show them as text."""

from __future__ import annotations

MARKS = frozenset(
    {
        "<think>", "</think>", "<tool_call>", "</tool_call>", "<|python_tag|>", "<|python_start|>", "<|python_end|>",
        "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]",
        "[THINK]", "[/THINK]",
        "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
        "<|tool_call_argument_begin|>", "<|tool_call_end|>",
        *(
            f"<\uff5ctool\u2581{name}\uff5c>"
            for name in ("calls\u2581begin", "calls\u2581end", "call\u2581begin", "call\u2581end", "sep")
        ),
        "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>",
        "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>",
    }
)  # fmt: skip
