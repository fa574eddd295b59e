"""DeepSeek V3 and R1, which put arguments into a block of code, and V3.1, which does not."""

from __future__ import annotations

from tests.unit.runner.kinds.text.prompt.formats.families.family import Family


def _tags(text: str) -> str:
    """Returns a text with its tags as DeepSeek spells them: fullwidth bars, and U+2581 for spaces."""
    return text.replace("<!", "<\uff5c").replace("!>", "\uff5c>").replace("^", "\u2581")


_TEMPLATE = """
{%- if tools %}{{ '## Tools\n' ~ (tools | tojson) ~ '\n' }}{% endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<!tool^output^begin!>' ~ message.content ~ '<!tool^output^end!>' }}
    {%- elif message.role == 'assistant' %}
        {{- '<!Assistant!></think>' ~ message.content }}
        {%- if message.tool_calls %}
            {{- '<!tool^calls^begin!>' }}
            {%- for tool in message.tool_calls %}
                {{- CALL }}
            {%- endfor %}
            {{- '<!tool^calls^end!>' }}
        {%- endif %}
        {{- '<!end^of^sentence!>' }}
    {%- else %}
        {{- '<!User!>' ~ message.content }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<!Assistant!>' ~ ('<think>' if thinking else '</think>') }}{% endif %}
"""
_CALL = "'<!tool^call^begin!>' + tool.function.name + '<!tool^sep!>' + tool.function.arguments + '<!tool^call^end!>'"
_CALL_IN_CODE = (
    "('' if loop.first else '\n') + '<!tool^call^begin!>' + tool.type + '<!tool^sep!>' + tool.function.name "
    "+ '\n```json\n' + tool.function.arguments + '\n```' + '<!tool^call^end!>'"
)
_PIECES = [
    "<!tool^calls^begin!>", "<!tool^call^begin!>", "get_weather", "<!tool^sep!>", '{"city": ', '"Rome"}', "{}", "null",
    "<!tool^call^end!>", "<!tool^calls^end!>", "function", "\n```json\n", "\n```",
]  # fmt: skip
_PROSE = [
    "Use <!tool^calls^begin!> for it.",
    "<!tool^calls^begin!><!tool^call^begin!>get_time<!tool^sep!>nothing<!tool^call^end!>",
    "<!tool^call^begin!>get_time is a function",
    "<!tool^calls^begin!><!tool^calls^begin!>",
    "<!tool^calls^begin!><!tool^call^begin!>get_ti",
]
_THOUGHT = (
    "<think>So it is.</think><!tool^calls^begin!><!tool^call^begin!>get_time<!tool^sep!>{}<!tool^call^end!>"
    "<!tool^calls^end!>"
)

DEEPSEEK = Family(
    "deepseek",
    # https://huggingface.co/deepseek-ai/DeepSeek-V3.1/blob/main/assets/chat_template.jinja
    _tags(_TEMPLATE.replace("CALL", _CALL)),
    end=_tags("<!end^of^sentence!>"),
    answers=[
        (
            _tags(
                'I will look.\n<!tool^calls^begin!><!tool^call^begin!>get_weather<!tool^sep!>{"city": "San }"}'
                "<!tool^call^end!><!tool^call^begin!>find<!tool^sep!>{}<!tool^call^end!><!tool^calls^end!>"
            ),
            "I will look.",
            [("get_weather", {"city": "San }"}), ("find", {})],
        ),
        # Without arguments, and without the tags that go around a call.
        (
            _tags("<!tool^call^begin!>get_time<!tool^sep!>null<!tool^call^end!> Done."),
            " Done.",
            [("get_time", {})],
        ),
        (
            _tags("<!tool^calls^begin!> <!tool^call^begin!>get_time<!tool^sep!>{}\nSo it is."),
            "\nSo it is.",
            [("get_time", {})],
        ),
    ],
    pieces=[_tags(piece) for piece in _PIECES],
    prose=[_tags(text) for text in _PROSE],
    thought=(_tags(_THOUGHT), "So it is.", "", [("get_time", {})]),
)
DEEPSEEK_V3 = Family(
    "deepseek-v3",
    # https://huggingface.co/deepseek-ai/DeepSeek-V3-0324/blob/main/tokenizer_config.json
    _tags(_TEMPLATE.replace("CALL", _CALL_IN_CODE)),
    end=_tags("<!end^of^sentence!>"),
    answers=[
        (
            _tags(
                "So:<!tool^calls^begin!><!tool^call^begin!>function<!tool^sep!>get_weather\n```json\n"
                '{"city": "```"}\n```<!tool^call^end!>\n<!tool^call^begin!>function<!tool^sep!>get_time\n```json\n'
                "{}\n```<!tool^call^end!><!tool^calls^end!>"
            ),
            "So:",
            [("get_weather", {"city": "```"}), ("get_time", {})],
        ),
    ],
    pieces=[_tags(piece) for piece in _PIECES],
    prose=[_tags(text) for text in _PROSE],
    thought=(_tags(_THOUGHT), "So it is.", "", [("get_time", {})]),
)
