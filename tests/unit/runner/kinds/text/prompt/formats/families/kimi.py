"""Kimi K2."""

from __future__ import annotations

from tests.unit.runner.kinds.text.prompt.formats.families.family import Family

_TEMPLATE = """
{%- if tools %}{{ '<|im_system|>tool_declare<|im_middle|>' ~ (tools | tojson) ~ '<|im_end|>' }}{% endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<|im_system|>tool<|im_middle|>## Return of ' ~ message.tool_call_id ~ '\n' ~ message.content }}
    {%- else %}
        {{- '<|im_' ~ message.role ~ '|>' ~ message.role ~ '<|im_middle|>' ~ message.content }}
    {%- endif %}
    {%- if message.tool_calls %}
        {{- '<|tool_calls_section_begin|>' }}
        {%- for tool_call in message.tool_calls %}
            {{- '<|tool_call_begin|>' ~ tool_call.id ~ '<|tool_call_argument_begin|>' }}
            {{- (tool_call.function.arguments | tojson) ~ '<|tool_call_end|>' }}
        {%- endfor %}
        {{- '<|tool_calls_section_end|>' }}
    {%- endif %}
    {{- '<|im_end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_assistant|>assistant<|im_middle|>' }}{% endif %}
"""

KIMI = Family(
    "kimi",
    # https://huggingface.co/moonshotai/Kimi-K2-Instruct/blob/main/chat_template.jinja
    _TEMPLATE,
    end="<|im_end|>",
    answers=[
        (
            ("I will look.<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
            '<|tool_call_argument_begin|>{"city": "<|tool_call_end|>"}<|tool_call_end|>'
            "<|tool_call_begin|>functions.find:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>"),
            "I will look.",
            [("get_weather", {"city": "<|tool_call_end|>"}), ("find", {})],
        ),
        # On lines, and without a number or a section.
        (
            ("<|tool_calls_section_begin|>\n<|tool_call_begin|>\nget_time\n<|tool_call_argument_begin|>\n{}\n"
            "<|tool_call_end|>\n<|tool_calls_section_end|>\nDone."),
            "\nDone.",
            [("get_time", {})],
        ),
        ("<|tool_call_begin|>get_time<|tool_call_argument_begin|><|tool_call_end|>", "", [("get_time", {})]),
    ],
    pieces=[
        "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>", "functions.get_weather:0",
        "<|tool_call_argument_begin|>", '{"city": ', '"Rome"}', "{}", "<|tool_call_end|>",
    ],
    prose=[
        "Use <|tool_call_begin|> for it.",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_time:0<|tool_call_argument_begin|>none",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_ti",
    ],
)  # fmt: skip
