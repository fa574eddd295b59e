"""Qwen3-Coder, Qwen 3.5 and later."""

from __future__ import annotations

from tests.unit.runner.kinds.text.prompt.formats.families.family import Family

_QWEN3_CODER = """
{%- if tools %}{{ '<|im_start|>system\n<tools>' ~ (tools | tojson) ~ '</tools><|im_end|>\n' }}{% endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<|im_start|>user\n<tool_response>\n' ~ message.content ~ '\n</tool_response>\n<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>' ~ message.role ~ '\n' ~ message.content }}
        {%- for tool_call in message.tool_calls or [] %}
            {{- '\n<tool_call>\n<function=' ~ tool_call.function.name ~ '>\n' }}
            {%- for name, value in tool_call.function.arguments | items %}
                {{- '<parameter=' ~ name ~ '>\n' }}
                {{- (value | tojson) if value is mapping or (value is sequence and value is not string) else value }}
                {{- '\n</parameter>\n' }}
            {%- endfor %}
            {{- '</function>\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
"""

QWEN3_CODER = Family(
    "qwen3-coder",
    # https://huggingface.co/Qwen/Qwen3-Coder-30B-A3B-Instruct/blob/main/chat_template.jinja
    _QWEN3_CODER,
    end="<|im_end|>\n",
    answers=[
        (
            ("I will look.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nSan José\nCA\n</parameter>\n"
            '<parameter=place>\n{"lat": 37.3, "name": "</parameter>"}\n</parameter>\n</function>\n</tool_call>'),
            "I will look.",
            [("get_weather", {"city": "San José\nCA", "place": {"lat": 37.3, "name": "</parameter>"}})],
        ),
        # Several at once, without parameters, and with a function that nobody offers.
        (
            ("<tool_call>\n<function=get_time>\n</function>\n</tool_call>\n"
            "<tool_call>\n<function=find>\n<parameter=days>\n5\n</parameter>\n</function>\n</tool_call>"),
            "",
            [("get_time", {}), ("find", {"days": "5"})],
        ),
        # Types as the schema has them, or as near as the text comes to it.
        (
            ("<tool_call>\n<function=get_weather>\n<parameter=city>\n12\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
            "<parameter=wind>\nTrue\n</parameter>\n<parameter=hours>\n[1, 2.5]\n</parameter>\n"
            "<parameter=units>\nnull\n</parameter>\n</function>\n</tool_call>"),
            "",
            [("get_weather", {"city": "12", "days": 3, "wind": True, "hours": [1, 2.5], "units": None})],
        ),
        (
            ("<tool_call>\n<function=get_weather>\n<parameter=city>\n\n\n</parameter>\n<parameter=days>\nsoon\n</parameter>\n"
            "<parameter=hours>\n[NaN]\n</parameter>\n<parameter=units>\n5\n</parameter>\n</function>\n</tool_call>"),
            "",
            [("get_weather", {"city": "\n", "days": "soon", "hours": "[NaN]", "units": "5"})],
        ),
        # Tags on one line, and tags that were forgotten.
        (
            "<tool_call><function=get_weather><parameter=city>Rome</parameter></function></tool_call> Done.",
            " Done.",
            [("get_weather", {"city": "Rome"})],
        ),
        (
            "<tool_call>\n<function=get_time>\n</function>\n<function=get_time>\n</function>\nSo it is.",
            "\nSo it is.",
            [("get_time", {}), ("get_time", {})],
        ),
    ],
    pieces=[
        "<tool_call>", "</tool_call>", "\n<function=get_weather>\n", "<parameter=city>\n", "Rome", "\n</parameter>\n",
        "<parameter=days>\n", "5", "</function>", "<function=", "<parameter=", "</parameter", "\n",
    ],
    prose=[
        "Use <tool_call> and <function=f> for it.",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nRome\n</parameter>\n",
        "<tool_call>\n<function=get_weather>\nand then </function>",
        "<tool_call>\n<function=get_weather\n>\n</function>",
        "<tool_call>\n<function=get_we",
    ],
)  # fmt: skip
