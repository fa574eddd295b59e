"""Translates a body of POST /v1/responses into that of a chat completion, so that both take the same path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import msgspec

from services.common.errors import MeshError
from services.edge.chat import request as chat
from services.edge.chat.field_names import renamed
from services.edge.http.parsing import invalid
from services.edge.responses.offered_tools import OfferedTools
from services.edge.responses.request import (
    InputFile,
    InputImage,
    InputText,
    Item,
    OutputText,
    Part,
    ReasoningText,
    Refusal,
    ResponsesBody,
    TextFormat,
)
from services.edge.responses.tool_choice import chat_choice

_ChatPart: TypeAlias = chat.TextPart | chat.ImagePart | chat.RefusalPart

# What a field of a chat completion is called here.
_NAMES = {
    "messages": "input",
    "response_format": "text.format",
    "response_format.json_schema.schema": "text.format.schema",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "logprobs": "include",
    "reasoning_effort": "reasoning.effort",
}
_MEMBER = re.compile(r"(?P<list>messages|tools)\[(?P<at>\d+)\](?P<rest>.*)")
_CALL_ID = re.compile(r"\.tool_calls\[(?P<at>\d+)\]\.id|\.tool_call_id")
_NOTHING_KEPT = "is not supported: this service keeps nothing of a request."
_ITEM_TYPES = "'message', 'function_call', 'custom_tool_call', one of their outputs, or 'reasoning'"


class _Turn(NamedTuple):
    """A message, and where it comes from in the body."""

    message: chat.Message
    # Of its content, and of all that it was made from.
    content_place: str
    place: str
    # Of its calls.
    call_places: tuple[str, ...] = ()


class _Places(NamedTuple):
    """Where the parts of a message stand in the body: its content, all that it was made from, and its calls."""

    content: str
    whole: str
    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldNames:
    """What the fields of a chat completion are called in the body that it was made from."""

    # Of each message.
    places: Sequence[_Places]
    # Of each tool.
    tool_places: Sequence[str]

    def error(self, error: MeshError) -> MeshError:
        """Returns an error about the chat completion as one about the body that it was made from."""
        return renamed(error, self._name)

    def _name(self, name: str) -> str:
        match = _MEMBER.fullmatch(name)
        if match is None:
            return _NAMES.get(name, name)
        at, rest = int(match["at"]), match["rest"]
        if match["list"] == "tools":
            member = rest.removeprefix(".function").removeprefix(".custom")
            return f"{self.tool_places[at]}{member.replace('.format.grammar', '.format')}"
        places = self.places[at]
        if call := _CALL_ID.fullmatch(rest):
            return f"{places.whole if call['at'] is None else places.calls[int(call['at'])]}.call_id"
        if not rest.startswith(".content"):
            return places.whole
        return places.content + rest.removeprefix(".content").replace(".image_url.url", ".image_url")


@dataclass(frozen=True, slots=True)
class Translation:
    """The chat completion that a response amounts to."""

    chat: chat.ChatBody
    names: FieldNames
    tools: OfferedTools


def translate(body: ResponsesBody) -> Translation:
    """Returns the same request as a chat completion; raises MeshError INVALID_REQUEST with `param`."""
    _check_kept(body)
    tools = OfferedTools(body.tools or [])
    turns = _turns(body, tools)
    completion = chat.ChatBody(
        model=body.model,
        messages=[turn.message for turn in turns],
        stream=body.stream,
        temperature=body.temperature,
        top_p=body.top_p,
        max_completion_tokens=body.max_output_tokens,
        stop=body.stop,
        seed=body.seed,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        top_k=body.top_k,
        min_p=body.min_p,
        repetition_penalty=body.repetition_penalty,
        logit_bias=body.logit_bias,
        logprobs=body.logprobs,
        top_logprobs=body.top_logprobs if body.logprobs else None,
        response_format=_response_format(body.text.format) if body.text and body.text.format else None,
        tools=tools.tools or None,
        tool_choice=chat_choice(body.tool_choice, tools),
        parallel_tool_calls=body.parallel_tool_calls,
        reasoning_effort=body.reasoning.effort if body.reasoning else None,
    )
    places = [_Places(turn.content_place, turn.place, turn.call_places) for turn in turns]
    return Translation(completion, FieldNames(places, tools.places), tools)


def _check_kept(body: ResponsesBody) -> None:
    if body.previous_response_id is not None:
        raise invalid("previous_response_id", f"'previous_response_id' {_NOTHING_KEPT} Send the earlier items again.")
    if body.conversation is not None:
        raise invalid("conversation", f"'conversation' {_NOTHING_KEPT} Send the earlier items in 'input'.")
    if body.prompt is not None:
        raise invalid("prompt", f"'prompt' {_NOTHING_KEPT} Send the text in 'instructions' and 'input'.")
    if body.background:
        raise invalid("background", f"'background' {_NOTHING_KEPT} Wait for the answer, or stream it.")


def _turns(body: ResponsesBody, tools: OfferedTools) -> list[_Turn]:
    turns = []
    if body.instructions:
        turns.append(_Turn(chat.Message("developer", body.instructions), "instructions", "instructions"))
    if isinstance(body.input, str):
        turns.append(_Turn(chat.Message("user", body.input), "input", "input"))
    else:
        following = [*body.input[1:], Item()]
        thought = ""
        for at, (item, after) in enumerate(zip(body.input, following, strict=True)):
            if item.kind == "reasoning":
                thought = _joined(thought, _thought(item))
            elif not _introduces(item, after):
                _add_item(turns, item, f"input[{at}]", tools)
                _add_thought(turns, thought)
                thought = ""
    if not turns:
        raise invalid("input", "'input' holds no message; add one.")
    return _with_results_at_calls(turns)


def _with_results_at_calls(turns: Sequence[_Turn]) -> list[_Turn]:
    """Returns the turns with each result after the turn of its call: here, other items may come between the two."""
    made: dict[str | None, int] = {}
    results: dict[int, list[_Turn]] = {}
    others = []
    for at, turn in enumerate(turns):
        if turn.message.role == "tool" and turn.message.tool_call_id in made:
            results.setdefault(made[turn.message.tool_call_id], []).append(turn)
        else:
            others.append((at, turn))
            made.update((call.id, at) for call in turn.message.tool_calls or ())
    return [each for at, turn in others for each in (turn, *results.get(at, ()))]


def _introduces(item: Item, after: Item) -> bool:
    """Whether an item refers to what the model said before it called a function.

    The Vercel AI SDK sends the calls of an agent's step as they are, but the words before them as a reference. The step
    can go on without these words, so they are left out; any other reference is refused.
    """
    return item.kind == "item_reference" and (item.id or "").startswith("msg_") and after.kind == "function_call"


def _add_item(turns: list[_Turn], item: Item, place: str, tools: OfferedTools) -> None:
    kind = item.kind
    if kind == "message":
        _add_message(turns, _message(item, place))
    elif kind in {"function_call", "custom_tool_call"}:
        _add_call(turns, item, place, tools)
    elif kind == "function_call_output":
        turns.append(_call_output(item, place))
    elif kind == "custom_tool_call_output":
        _add_custom_output(turns, _call_output(item, place))
    elif kind == "answered_call":
        _add_call(turns, item, place, tools)
        turns.append(_call_output(item, place))
    elif kind == "item_reference":
        advice = "Send the item itself; the Vercel AI SDK does so with 'store: false'."
        raise invalid(place, f"'{place}' is a reference to an item, which {_NOTHING_KEPT} {advice}")
    else:
        param = f"{place}.type"
        raise invalid(param, f"'{param}' must be {_ITEM_TYPES}.")


def _thought(item: Item) -> str:
    """Returns the text of an earlier thought, or its summary if that is all; "" if it has none that can be read."""
    if isinstance(item.content, str):
        return item.content
    texts = [part.text for part in item.content or () if isinstance(part, ReasoningText)]
    return "".join(texts) or "\n\n".join(part.text for part in item.summary or () if part.text)


def _add_thought(turns: list[_Turn], thought: str) -> None:
    """Adds a thought to what came of it; a turn may hold several, each before a call."""
    turn = turns[-1]
    if thought and turn.message.role == "assistant":
        joined = _joined(turn.message.reasoning_content or "", thought)
        turns[-1] = turn._replace(message=msgspec.structs.replace(turn.message, reasoning_content=joined))


def _joined(*thoughts: str) -> str:
    return "\n\n".join(filter(None, thoughts))


def _message(item: Item, place: str) -> _Turn:
    if item.role is None:
        raise _required(f"{place}.role")
    content_place = f"{place}.content"
    if item.content is None:
        raise invalid(content_place, f"'{content_place}' is required for the role '{item.role}'; add it.")
    return _Turn(chat.Message(item.role, _content(item.content, content_place)), content_place, place)


def _add_message(turns: list[_Turn], said: _Turn) -> None:
    """Adds a message; what the assistant says between its calls and their results belongs to the turn of the calls."""
    earlier = turns[-1].message if turns else said.message
    if said.message.role != "assistant" or not earlier.tool_calls:
        turns.append(said)
        return
    content = said.message.content
    if earlier.content is not None:
        content = [*_parts(earlier.content), *_parts(content)]
        said = turns[-1]
    message = msgspec.structs.replace(earlier, content=content)
    turns[-1] = turns[-1]._replace(message=message, content_place=said.content_place)


def _parts(content: str | list[_ChatPart] | None) -> list[_ChatPart]:
    return [chat.TextPart(content)] if isinstance(content, str) else content or []


def _add_call(turns: list[_Turn], item: Item, place: str, tools: OfferedTools) -> None:
    """Adds a call to the turn of the assistant in which it was made."""
    call = _call(item, place, tools)
    joins = bool(turns) and turns[-1].message.role == "assistant"
    turn = turns.pop() if joins else _Turn(chat.Message("assistant"), place, place)
    calls = [*(turn.message.tool_calls or ()), call]
    message = msgspec.structs.replace(turn.message, tool_calls=calls)
    turns.append(turn._replace(message=message, call_places=(*turn.call_places, place)))


def _call(item: Item, place: str, tools: OfferedTools) -> chat.ToolCall:
    is_custom = item.kind == "custom_tool_call"
    given = item.input if is_custom else item.arguments
    if item.call_id is None or item.name is None or given is None:
        member = "input" if is_custom else "arguments"
        raise _required(f"{place}.{'call_id' if item.call_id is None else 'name' if item.name is None else member}")
    name = tools.shown_name(item.name, item.namespace)
    if is_custom:
        return chat.ToolCall(item.call_id, None, "custom", chat.CustomCall(name, given))
    return chat.ToolCall(item.call_id, chat.FunctionCall(name, given))


def _call_output(item: Item, place: str) -> _Turn:
    if item.call_id is None or item.output is None:
        raise _required(f"{place}.{'call_id' if item.call_id is None else 'output'}")
    output_place = f"{place}.output"
    message = chat.Message("tool", _content(item.output, output_place), tool_call_id=item.call_id)
    return _Turn(message, output_place, place)


def _add_custom_output(turns: list[_Turn], output: _Turn) -> None:
    """Adds a result of a custom tool, which may come in several items: a program of Codex may notify before it ends."""
    call_id = output.message.tool_call_id
    for at, turn in reversed(list(enumerate(turns))):
        if turn.message.role == "tool" and turn.message.tool_call_id == call_id:
            content = [*_parts(turn.message.content), *_parts(output.message.content)]
            turns[at] = turn._replace(message=msgspec.structs.replace(turn.message, content=content))
            return
        if any(call.id == call_id for call in turn.message.tool_calls or ()):
            break
    turns.append(output)


def _required(param: str) -> MeshError:
    return invalid(param, f"'{param}' is required; add it.")


def _content(content: str | list[Part], place: str) -> str | list[_ChatPart]:
    if isinstance(content, str):
        return content
    return [_part(part, f"{place}[{at}]") for at, part in enumerate(content)]


def _part(part: Part, place: str) -> _ChatPart:
    if isinstance(part, (InputText, OutputText)):
        return chat.TextPart(part.text)
    if isinstance(part, Refusal):
        return chat.RefusalPart(part.refusal)
    if isinstance(part, InputImage):
        if part.image_url is None:
            param = f"{place}.image_url"
            raise invalid(
                param, f"'{param}' is required for an 'input_image': there are no files to name by id; add it."
            )
        return chat.ImagePart(chat.ImageUrl(part.image_url))
    what = "a file, and files are not supported" if isinstance(part, InputFile) else "a thought, which no message holds"
    raise invalid(place, f"'{place}' is {what}; send 'input_text' or 'input_image'.")


def _response_format(wanted: TextFormat) -> chat.ResponseFormat:
    if wanted.type != "json_schema":
        return chat.ResponseFormat(wanted.type or "text")
    if wanted.name is None or wanted.schema is None:
        param = "text.format.name" if wanted.name is None else "text.format.schema"
        raise invalid(param, f"'{param}' is required for the type 'json_schema'; add it.")
    return chat.ResponseFormat(
        "json_schema", chat.JsonSchema(wanted.schema, wanted.name, wanted.strict, wanted.description)
    )
