"""A model that cannot be served stops its runner with a line for the operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.settings import SettingsError
from services.runner.engines.llamacpp import LlamaCppEngine
from services.runner.kinds.choice import work_reader


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for tool in tools %}<minimax:tool_call>{{ tool.name }}{% endfor %}", "the format of MiniMax"),
        ("{% if %}", "is not valid: line 1"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_a_mistake_of_the_operator(template: str, reason: str) -> None:
    engine = LlamaCppEngine(Path("model.gguf"), slots=1, context=256, chat_template=template)
    with pytest.raises(SettingsError, match=reason):
        work_reader(engine)
