"""Earlier calls and thoughts in the form in which a chat template takes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]


def written_for_template(
    messages: Sequence[Document],
    *,
    call_id: Callable[[str, int], str] | None,
    arguments_as_text: bool,
    thinking: bool,
) -> list[Document]:
    """Returns messages for a template.

    `call_id` makes the id of a call from its function's name and its number in the conversation. `arguments_as_text`
    writes arguments as JSON. `thinking` repeats a thought under that name, as gpt-oss has it.
    """
    written: list[Document] = []
    ids: dict[str, str] = {}
    number = 0
    for message in messages:
        document = dict(message)
        calls = []
        for call in message.get("tool_calls") or ():
            function = call["function"]
            if arguments_as_text:
                function = {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}
            if call_id:
                ids[call.get("id", "")] = call_id(function["name"], number)
            number += 1
            calls.append({**call, "id": ids.get(call.get("id", ""), call.get("id", "")), "function": function})
        if calls:
            document["tool_calls"] = calls
        if result_of := message.get("tool_call_id"):
            document["tool_call_id"] = ids.get(result_of, result_of)
        # Next to a call, such a template takes a thought or words, not both.
        if thinking and message.get("reasoning_content") and not (calls and message.get("content")):
            document["thinking"] = message["reasoning_content"]
        written.append(document)
    return written
