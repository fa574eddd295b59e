"""gpt-oss."""

from __future__ import annotations

from tests.unit.runner.kinds.text.prompt.formats.families.family import Family

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
