"""The format is found in the chat template, and a template whose calls no reader reads is refused."""

from __future__ import annotations

import pytest

from services.runner.kinds.text.prompt.formats import detect_format
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{{ '<tool_call>\\n' }}{{ call | tojson }}", "hermes"),
        ("{% if tools %}{{ '<|python_tag|>' }}{% endif %}", "llama"),
        ('<|start_header_id|>{{ \'{"name": "\' + name + \'", "parameters": \' }}', "llama"),
        ('<|header_start|>{% if tools %}{{ \'{"name": "\' + name + \'", "parameters": \' }}{% endif %}', "llama4"),
        ("{{ '[AVAILABLE_TOOLS]' }}{{ '[TOOL_CALLS][' }}", "mistral"),
        ("{{ '[TOOL_CALLS]' + name + '[ARGS]' }}", "mistral-args"),
        ("{{ messages[0].content }}", "hermes"),
        ("{# no tools, no tool_calls #}{{ messages[0].content }}", "hermes"),
    ],
)
def test_a_template_tells_its_format(template: str, name: str) -> None:
    assert detect_format(template).name == name


def test_the_local_model_writes_calls_as_hermes_does() -> None:
    assert ChatTemplate(packaged_template("smollm2")).tool_format.name == "hermes"


def conversation(call: str) -> str:
    """Returns a template that writes each call of the past so."""
    return (
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% for c in m.tool_calls or [] %}{% set f = c.function %}" + call + "{% endfor %}<|im_end|>\n{% endfor %}"
    )


ITEMS = "{% for k, v in f.arguments.items() %}"
QWEN3_CODER = (
    "<tool_call>\n<function={{ f.name }}>\n"
    + ITEMS
    + "<parameter={{ k }}>\n{{ v }}\n</parameter>\n{% endfor %}</function>\n</tool_call>"
)


@pytest.mark.parametrize(
    ("call", "models"),
    [
        (f"<seed:tool_call>{QWEN3_CODER}</seed:tool_call>", "Seed-OSS"),
        ("<|tool_call>call:{{ f.name }}{}<tool_call|>", "Gemma 4"),
        ("<|tool_call|>[{{ f | tojson }}]", "Granite"),
    ],
)
def test_a_known_format_without_a_reader_is_refused_by_its_name(call: str, models: str) -> None:
    with pytest.raises(ValueError, match=rf"format of .*{models}.*that can be read are: hermes, llama, mistral"):
        ChatTemplate(conversation(call))


@pytest.mark.parametrize(
    "call",
    [
        # The tag of Hermes, and another thing in it.
        "<tool_call>{{ f.name }}<sep>{{ f.arguments | tojson }}</tool_call>",
        "<tool_call>{{ f.name }}(" + ITEMS + "{{ k }}={{ v | tojson }}{% endfor %})</tool_call>",
        '<tool_call>{"tool": "{{ f.name }}", "input": {{ f.arguments | tojson }}}</tool_call>',
        # No tag that is known.
        '<invoke name="{{ f.name }}">{{ f.arguments | tojson }}</invoke>',
        '<tool_calls>[{"name": "{{ f.name }}", "arguments": {{ f.arguments | tojson }}}]</tool_calls>',
        '<|python_tag|>{{ f.name }}.call(query="{{ f.arguments.probe_key }}")',
    ],
)
def test_a_call_that_no_reader_reads_is_refused(call: str) -> None:
    with pytest.raises(ValueError, match="a format that is not known, which cannot be read"):
        ChatTemplate(conversation(call))


OBJECT = '{"name": "{{ f.name }}", "%s": {{ f.arguments | tojson }}}'


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("<tool_call>\n" + OBJECT % "arguments" + "\n</tool_call>", "hermes"),
        ("<tool_call>{{ f | tojson }}</tool_call>", "hermes"),
        ("<|python_tag|>" + OBJECT % "parameters", "llama"),
        ("{# <|start_header_id|> #}{{ '<|start_header_id|>' }}" + OBJECT % "parameters", "llama"),
        ("[TOOL_CALLS][" + OBJECT % "arguments" + "]", "mistral"),
        ("[TOOL_CALLS]{{ f.name }}[ARGS]{{ f.arguments | tojson }}", "mistral-args"),
        ("[TOOL_CALLS]{{ f.name }}[CALL_ID]{{ c.id }}[ARGS]{{ f.arguments | tojson }}", "mistral-args"),
    ],
)
def test_what_a_template_writes_is_read_by_its_format(call: str, name: str) -> None:
    assert ChatTemplate(conversation(call)).tool_format.name == name


@pytest.mark.parametrize(
    "refusal", ["{{ raise_exception('no tools') }}", "{{ messages[7].content }}{{ messages[7].content.missing.more }}"]
)
def test_a_template_that_refuses_the_probe_is_taken_by_its_tag(refusal: str) -> None:
    assert ChatTemplate("{{ '<tool_call>' }}{% if tools %}{% endif %}" + refusal).tool_format.name == "hermes"
