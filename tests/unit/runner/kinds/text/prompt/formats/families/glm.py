"""GLM-4.5 and later."""

from __future__ import annotations

from tests.unit.runner.kinds.text.prompt.formats.families.family import Family

_GLM = """
{{- '[gMASK]<sop>' }}
{%- if tools %}{{ '<|system|>\n<tools>\n' ~ (tools | tojson) ~ '\n</tools>' }}{% endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<|observation|>\n<tool_response>\n' ~ message.content ~ '\n</tool_response>' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|assistant|>\n<think></think>' ~ ('\n' ~ message.content if message.content else '') }}
        {%- for tool_call in message.tool_calls or [] %}
            {{- '\n<tool_call>' ~ tool_call.function.name ~ '\n' }}
            {%- for name, value in tool_call.function.arguments.items() %}
                {{- '<arg_key>' ~ name ~ '</arg_key>\n<arg_value>' }}
                {{- (value if value is string else value | tojson) ~ '</arg_value>\n' }}
            {%- endfor %}
            {{- '</tool_call>' }}
        {%- endfor %}
    {%- else %}
        {{- '<|' ~ message.role ~ '|>\n' ~ message.content }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\n<think></think>' }}{% endif %}
"""

GLM = Family(
    "glm",
    # https://huggingface.co/zai-org/GLM-4.6/blob/main/chat_template.jinja
    _GLM,
    end="<|observation|>",
    answers=[
        (
            ("I will look.\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value> San </arg_value>José\n"
            '</arg_value>\n<arg_key>place</arg_key>\n<arg_value>{"lat": 37.3}</arg_value>\n</tool_call>'),
            "I will look.",
            [("get_weather", {"city": " San </arg_value>José\n", "place": {"lat": 37.3}})],
        ),
        # Several at once, without parameters, without lines, and with a function that nobody offers.
        (
            "<tool_call>get_time\n</tool_call>\n<tool_call>find<arg_key>a</arg_key><arg_value>5</arg_value></tool_call>",
            "",
            [("get_time", {}), ("find", {"a": "5"})],
        ),
        (
            ("<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>12</arg_value>\n<arg_key>days</arg_key>\n"
            "<arg_value>3</arg_value>\n<arg_key>hours</arg_key>\n<arg_value>[1]</arg_value>\n</tool_call> Done."),
            " Done.",
            [("get_weather", {"city": "12", "days": 3, "hours": [1]})],
        ),
    ],
    pieces=[
        "<tool_call>", "</tool_call>", "get_weather\n", "<arg_key>city</arg_key>\n", "<arg_value>", "Rome",
        "</arg_value>\n", "<arg_key>", "</arg_key>", "days", "5",
    ],
    prose=[
        "Use <tool_call>name</tool_call> for it.",
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n",
        "<tool_call>get_weather\n<arg_key>city</arg_key> is a city</tool_call>",
        "<tool_call>get_weather is a function</tool_call>",
        "<tool_call>get_we",
    ],
)  # fmt: skip
