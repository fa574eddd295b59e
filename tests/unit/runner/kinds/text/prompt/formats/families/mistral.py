"""Mistral, with all calls in one array, and since 2025 with tags for each call."""

from __future__ import annotations

from tests.unit.runner.kinds.text.prompt.formats.families.family import Calls, Family

_TEMPLATE = """
{%- if tools %}{{ '[AVAILABLE_TOOLS]' ~ (tools | tojson) ~ '[/AVAILABLE_TOOLS]' }}{% endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '[TOOL_RESULTS]' ~ SHOWN ~ '[/TOOL_RESULTS]' }}
    {%- elif message.role == 'assistant' %}
        {%- if message.reasoning_content %}{{ '[THINK]' ~ message.reasoning_content ~ '[/THINK]' }}{% endif %}
        {{- message.content }}
        {%- for call in message.tool_calls or [] %}
            {%- if call.id | length != 9 %}{{ raise_exception('Tool call IDs have length 9') }}{% endif %}
            {{- WRITTEN }}
        {%- endfor %}
        {{- '</s>' }}
    {%- else %}
        {{- '[INST]' ~ message.content ~ '[/INST]' }}
    {%- endif %}
{%- endfor %}
"""
_ARRAY = (
    "('[TOOL_CALLS][' if loop.first else ', ') ~ "
    '\'{"name": "\' ~ call.function.name ~ \'", "arguments": \' ~ (call.function.arguments | tojson) '
    "~ ', \"id\": \"' ~ call.id ~ '\"}' ~ (']' if loop.last else '')"
)
_ARRAY_RESULT = "({'content': message.content, 'call_id': message.tool_call_id} | tojson)"
_ARGS = "'[TOOL_CALLS]' ~ call.function.name ~ '[ARGS]' ~ (call.function.arguments | tojson)"
_ARGS_RESULT = "message.content"
_PIECES = [
    "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[", "]", "{", "}", ", ", "get_weather", '"name": ', '"get_time"',
    '"arguments": ', '{"city": ', '"Rome"', "{}",
]  # fmt: skip
_THOUGHT: tuple[str, str, str, Calls] = ("[THINK]So it is.[/THINK]Yes.", "So it is.", "Yes.", [])

MISTRAL = Family(
    "mistral",
    # https://huggingface.co/mistralai/Mistral-Small-24B-Instruct-2501/blob/main/tokenizer_config.json
    _TEMPLATE.replace("WRITTEN", _ARRAY).replace("SHOWN", _ARRAY_RESULT),
    end="</s>",
    answers=[
        (
            '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "]"}, "id": "VvvODy9mT"}]',
            "",
            [("get_weather", {"city": "]"})],
        ),
    ],
    pieces=_PIECES,
    prose=["[TOOL_CALLS] not so"],
    forced=(
        (
            '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "San José", "days": 3, "hours": [1, 2.5], '
            '"place": {"lat": 1.5, "name": "a"}}}]'
        ),
        '[TOOL_CALLS][{"name": "get_time", "arguments": {}}]',
    ),
    thought=_THOUGHT,
)
MISTRAL_ARGS = Family(
    "mistral-args",
    # https://huggingface.co/mistralai/Magistral-Small-2509/blob/main/chat_template.jinja
    _TEMPLATE.replace("WRITTEN", _ARGS).replace("SHOWN", _ARGS_RESULT),
    end="</s>",
    answers=[
        ('So.[TOOL_CALLS]get_weather[ARGS]{"city": "]"}', "So.", [("get_weather", {"city": "]"})]),
        ("[TOOL_CALLS]get_time[CALL_ID]VvvODy9mT[ARGS]{}", "", [("get_time", {})]),
    ],
    pieces=_PIECES,
    prose=["[TOOL_CALLS]get_time[ARGS] nothing"],
    thought=_THOUGHT,
)
