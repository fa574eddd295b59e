"""Fields are renamed in what is said of them, and nothing else is."""

from __future__ import annotations

from services.common.errors import Code, MeshError
from services.edge.chat.field_names import renamed


def test_fields_are_renamed_where_they_are_quoted() -> None:
    names = {"messages": "prompt", "messages[0].content": "prompt[0]"}
    message = "'messages[0].content' of your messages: '16' 'messages' and 'tools'."
    error = MeshError(Code.OVERLOADED, message, param="messages[0].content", retry_after=2.0)
    here = renamed(error, lambda name: names.get(name, name))
    assert here.message == "'prompt[0]' of your messages: '16' 'prompt' and 'tools'."
    assert (here.code, here.param, here.retry_after) == (Code.OVERLOADED, "prompt[0]", 2.0)
