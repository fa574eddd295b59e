"""Llama 4 with its own template, which asks for JSON."""

from __future__ import annotations

from tests.unit.runner.kinds.text.prompt.formats.families.family import Family

_TEMPLATE = """
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<|header_start|>ipython<|header_end|>\n\n' ~ (message.content | tojson) ~ '<|eot|>' }}
    {%- else %}
        {{- '<|header_start|>' ~ message.role ~ '<|header_end|>\n\n' }}
        {%- if loop.first and tools %}
            {{- 'Respond in the format {"name": function name, "parameters": dictionary of values}.' }}
            {{- tools | tojson }}
        {%- endif %}
        {%- if message.tool_calls %}{{ '<|python_start|>' ~ message.content ~ '<|python_end|>' }}{% endif %}
        {{- message.content if not message.tool_calls }}
        {%- for tool_call in message.tool_calls or [] %}
            {{- '{"name": "' ~ tool_call.function.name ~ '", "parameters": ' }}
            {{- (tool_call.function.arguments | tojson) ~ '}' }}
        {%- endfor %}
        {{- '<|eot|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|header_start|>assistant<|header_end|>\n\n' }}{% endif %}
"""
_PARIS = '{"name": "get_weather", "parameters": {"city": "Paris"}}'
_TIME = '{"name": "get_time", "parameters": {}}'

LLAMA4 = Family(
    "llama4",
    # https://huggingface.co/meta-llama/Llama-4-Scout-17B-16E-Instruct/blob/main/chat_template.jinja
    _TEMPLATE,
    end="<|eot|>",
    opening="<|python_start|><|python_end|>",
    answers=[
        (_PARIS, "", [("get_weather", {"city": "Paris"})]),
        (
            f"I look.\n<|python_start|>{_PARIS}; {_TIME}<|python_end|>",
            "I look.",
            [
                ("get_weather", {"city": "Paris"}),
                ("get_time", {}),
            ],
        ),
        (f"<|python_start|>{_TIME}<|python_end|> Done.", " Done.", [("get_time", {})]),
    ],
    pieces=["<|python_start|>", "<|python_end|>", _PARIS, _TIME, "{", '"name": ', '"get_time"', '"parameters": ', "; "],
    prose=["<|python_start|>print(1)<|python_end|>", f"For example {_TIME}", '{"name": "find", "parameters": {}}'],
    forced=(
        (
            '{"name": "get_weather", "parameters": {"city": "San José", "days": 3, "hours": [1, 2.5], '
            '"place": {"lat": 1.5, "name": "a"}}}'
        ),
        _TIME,
    ),
)
