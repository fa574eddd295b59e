"""The format is found in the chat template."""

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
        ("{{ '[AVAILABLE_TOOLS]' }}{{ '[TOOL_CALLS][' }}", "mistral"),
        ("{{ '[TOOL_CALLS]' + name + '[ARGS]' }}", "mistral-args"),
        ("{{ messages[0].content }}", "hermes"),
    ],
)
def test_a_template_tells_its_format(template: str, name: str) -> None:
    assert detect_format(template).name == name


def test_the_local_model_writes_calls_as_hermes_does() -> None:
    assert ChatTemplate(packaged_template("smollm2")).tool_format.name == "hermes"
