"""The families of models that write calls each in its own way, each with a template and answers of its models.

The templates are short ones of our own: they write calls and results with the tags, the white space and the order of
the published template that each names, and leave out what a test does not need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Calls as an answer has them: names with arguments.
Calls = list[tuple[str, dict[str, Any]]]

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "wind": {"type": "boolean"},
        "hours": {"type": "array", "items": {"type": "number"}},
        "units": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "place": {"$ref": "#/$defs/place"},
    },
    "required": ["city"],
    "$defs": {"place": {"type": "object", "properties": {"lat": {"type": "number"}, "name": {"type": "string"}}}},
}
TIME: dict[str, Any] = {"type": "object", "properties": {}}
FUNCTIONS: dict[str, dict[str, Any]] = {"get_weather": WEATHER, "get_time": TIME}


@dataclass(frozen=True)
class Family:
    """One family."""

    format: str
    template: str
    # What ends the assistant's turn in the template.
    end: str
    # Answers, each with the content and the calls that it is.
    answers: list[tuple[str, str, Calls]]
    # Pieces of answers, for random ones.
    pieces: list[str]
    # Answers that look like calls and are none.
    prose: list[str] = field(default_factory=list)
    # Whether one answer can have several calls.
    parallel: bool = True
    # Control tokens that have no text on an engine.
    hidden: tuple[str, ...] = ()
    # The calls of test_forced_calls_as_models_write_them, where the grammar has another form than the template.
    forced: tuple[str, ...] = ()
    # An answer with a thought, and the thought, content and calls that it is.
    thought: tuple[str, str, str, Calls] = ("<think>\nSo it is.\n</think>\n\nYes.", "So it is.", "Yes.", [])


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

_HARMONY = """
{{- '<|start|>system<|message|># Valid channels: analysis, commentary, final.<|end|>' }}
{%- if tools %}{{ '<|start|>developer<|message|># Tools\n' ~ (tools | tojson) ~ '<|end|>' }}{% endif %}
{%- set last = namespace(name='') %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<|start|>functions.' ~ last.name ~ ' to=assistant<|channel|>commentary<|message|>' }}
        {{- (message.content | tojson) ~ '<|end|>' }}
    {%- elif message.tool_calls %}
        {%- if message.thinking %}
            {{- '<|start|>assistant<|channel|>analysis<|message|>' ~ message.thinking ~ '<|end|>' }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- set last.name = tool_call.function.name %}
            {{- '<|start|>assistant to=functions.' ~ last.name ~ '<|channel|>commentary json<|message|>' }}
            {{- (tool_call.function.arguments | tojson) ~ '<|call|>' }}
        {%- endfor %}
    {%- elif message.role == 'assistant' %}
        {{- '<|start|>assistant<|channel|>final<|message|>' ~ message.content ~ '<|end|>' }}
    {%- else %}
        {{- '<|start|>' ~ message.role ~ '<|message|>' ~ message.content ~ '<|end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}
"""
_PARIS = '{"city": "Paris <|start|> }"}'

HARMONY = Family(
    "harmony",
    # https://huggingface.co/openai/gpt-oss-20b/blob/main/chat_template.jinja
    _HARMONY,
    end="<|start|>functions.",
    answers=[
        (
            ("<|channel|>analysis<|message|>The user asks.<|end|><|start|>assistant"
            f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{_PARIS}<|call|>"),
            "",
            [("get_weather", {"city": "Paris <|start|> }"})],
        ),
        # The tokens that end messages have no text on an engine, and the recipient may come first.
        (
            (f" to=functions.get_weather<|channel|>commentary json<|message|>{_PARIS}"
            "<|start|>assistant to=functions.get_time<|channel|>analysis code<|message|>{}"),
            "",
            [("get_weather", {"city": "Paris <|start|> }"}), ("get_time", {})],
        ),
        (
            ("<|channel|>commentary<|message|>I will look.\n<|end|><|start|>assistant<|channel|>commentary "
            "to=functions.get_time<|constrain|>json<|message|><|call|>"),
            "I will look.\n",
            [("get_time", {})],
        ),
        (
            "<|channel|>analysis<|message|>Hm.<|start|>assistant<|channel|>final<|message|> It is {sun}. \n<|return|>",
            " It is {sun}. \n",
            [],
        ),
        # A tool that nobody offers, and an answer without a channel.
        (
            "<|channel|>analysis to=python code<|message|>print(1)<|call|>",
            "<|channel|>analysis to=python code<|message|>print(1)",
            [],
        ),
        ("Hello, <|channel|> is a token.", "Hello, <|channel|> is a token.", []),
    ],
    pieces=[
        "<|channel|>", "analysis", "commentary", "final", "<|message|>", "<|start|>assistant", " to=functions.get_time",
        " to=functions.get_weather ", "<|constrain|>json", '{"city": ', '"Rome"', "}", "{}",
    ],
    prose=["to=", "assistant", "<|chan", " \n", "Hello"],
    parallel=False,
    hidden=("<|end|>", "<|call|>", "<|return|>"),
    forced=(
        ("<|channel|>analysis<|message|>So<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
        '<|constrain|>json<|message|>{"city": "San José", "days": 3, "hours": [1, 2.5], '
        '"place": {"lat": 1.5, "name": "a"}}'),
        "<|channel|>commentary to=functions.get_time <|constrain|>json<|message|>{}",
    ),
    thought=(
        "<|channel|>analysis<|message|>So\nit is.<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
        "So\nit is.",
        "Yes.",
        [],
    ),
)  # fmt: skip

FAMILIES = [QWEN3_CODER, HARMONY]
