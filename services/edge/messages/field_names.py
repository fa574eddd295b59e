"""What the fields of a chat completion are called in the body of POST /v1/messages that it was made from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.errors import Code, MeshError
from services.edge.chat.field_names import renamed
from services.edge.messages.turns import Places

_NAMES = {
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "response_format.json_schema.schema": "output_config.format.schema",
    "response_format": "output_config.format",
    "reasoning_effort": "thinking",
}
_MEMBER = re.compile(r"(?P<list>messages|tools)\[(?P<at>\d+)\](?P<rest>.*)")
_CALL_ID = re.compile(r"\.tool_calls\[(?P<at>\d+)\]\.id")
_PART = re.compile(r"\.content\[(?P<at>\d+)\](?P<image>\.image_url\.url)?")
_TOOL_FIELDS = {".function.parameters": ".input_schema", ".function.name": ".name", ".function": ""}
# In a runner's words for a prompt that is too long, the context and the tokens of the prompt.
_TOO_LONG = re.compile(r"maximum context length is (\d+) tokens\. .* resulted in (\d+) tokens\.")


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Knows where the messages and the tools of a chat completion stand in the body."""

    turns: Sequence[Places]
    # The places of the tools that are on offer.
    tools: Sequence[str]

    def error(self, error: MeshError) -> MeshError:
        """Returns an error about the chat completion as one about the body that it was made from."""
        error = renamed(error, self._name)
        if error.code is Code.CONTEXT_LENGTH_EXCEEDED and (told := _TOO_LONG.search(error.message)):
            # Anthropic's clients know by these words that they have to shorten the conversation, and by how much.
            message = f"prompt is too long: {told[2]} tokens > {told[1]} maximum. Send less, or use another model."
            return error.reworded(message, error.param)
        return error

    def _name(self, name: str) -> str:
        match = _MEMBER.fullmatch(name)
        if match is None:
            return _NAMES.get(name, name)
        at, rest = int(match["at"]), match["rest"]
        if at >= len(self.tools if match["list"] == "tools" else self.turns):
            # A runner may have put in a message of its own.
            return match["list"]
        if match["list"] == "tools":
            return self.tools[at] + _TOOL_FIELDS.get(rest, rest)
        return _place(self.turns[at], rest)


def _place(turn: Places, rest: str) -> str:
    """Returns the place of what is called `rest` in the message that a turn became."""
    if call := _CALL_ID.fullmatch(rest):
        return f"{turn.calls[int(call['at'])]}.id"
    if rest == ".tool_call_id":
        return f"{turn.whole}.tool_use_id"
    if (part := _PART.fullmatch(rest)) and turn.parts:
        return turn.parts[int(part["at"])] + (".source" if part["image"] else "")
    return turn.whole
