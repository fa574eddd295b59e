"""Llama 4 and Gemma 3 with templates that ask for a list of calls as in Python."""

from __future__ import annotations

from tests.unit.runner.kinds.text.prompt.formats.families.family import Family

_TEMPLATE = """
{%- for message in messages %}
    {{- '<start_of_turn>' ~ ('model' if message.role == 'assistant' else 'user') ~ '\n' }}
    {%- if loop.first and tools %}
        {{- 'Format: [func_name1(params_name1=params_value1), func_name2(params)]\n' ~ (tools | tojson) ~ '\n' }}
    {%- endif %}
    {%- if message.tool_calls %}
        {{- '[' }}
        {%- for tool_call in message.tool_calls %}
            {{- tool_call.function.name ~ '(' }}
            {%- for key, value in tool_call.function.arguments.items() %}
                {{- key ~ '=' ~ (value | tojson) ~ ('' if loop.last else ', ') }}
            {%- endfor %}
            {{- ')' ~ ('' if loop.last else ', ') }}
        {%- endfor %}
        {{- ']' }}
    {%- endif %}
    {{- message.content ~ '<end_of_turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}
"""

PYTHONIC = Family(
    "pythonic",
    # https://github.com/vllm-project/vllm/blob/main/examples/tool_chat_template_gemma3_pythonic.jinja
    _TEMPLATE,
    end="<end_of_turn>",
    answers=[
        (
            "[get_weather(city='San \\'José\\'', days=3, wind=True, units=None, hours=(1, 2.5)), get_time()]",
            "",
            [
                (
                    "get_weather",
                    {"city": "San 'José'", "days": 3, "wind": True, "units": None, "hours": [1, 2.5]},
                ),
                ("get_time", {}),
            ],
        ),
        # With tags, as JSON has it, and with every value as a string.
        (
            'I will look. <|python_start|>[get_weather(city="],)", days="3", wind=true)]<|python_end|>',
            "I will look.",
            [("get_weather", {"city": "],)", "days": 3, "wind": True})],
        ),
        ("\n [ get_time( ) ] Done.", " Done.", [("get_time", {})]),
    ],
    pieces=[
        "<|python_start|>", "<|python_end|>", "[", "get_weather(", "city=", '"Rome"', "'a'", ", ", "days=3", ")", "]",
        "get_time()", "[get_time()]",
    ],
    prose=[
        "[see(1), get_time()]",
        "[get_time(1)]",
        "[get_weather(city=Rome)]",
        "[get_weather(city='Rome', hours=1e999)]",
        "[get_time() + 1]",
        "[get_weather(city='Ro",
        "[get_ti",
        "[1, 2]",
        "For example [get_time()]",
        "<|python_start|>print(1)",
        "<|python_st",
    ],
)  # fmt: skip
