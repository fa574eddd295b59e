"""Turns the messages of a body into those of a chat completion, and keeps where each part of them comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, NoReturn, TypeAlias

import msgspec

from services.edge.chat import request as chat
from services.edge.http.parsing import invalid
from services.edge.messages.request import (
    Base64Source,
    Block,
    ConversationBody,
    ImageBlock,
    MessageParam,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
    UrlSource,
)
from services.edge.messages.thoughts import ThoughtSigner

_ChatPart: TypeAlias = chat.TextPart | chat.ImagePart | chat.RefusalPart
# What the model is told of a call that failed: chat templates have no other way to say it.
_FAILED = "Error: "
# Blocks of text are paragraphs of their own, but for what a model has said, which is put together as it was.
_APART = "\n\n"
# What Claude Code writes at the beginning of its instructions for Anthropic's accounts, such as
# "x-anthropic-billing-header: cc_version=2.1.100.7b4; cch=eb6c6;". It differs in each request, so the engine would know
# nothing of a prompt from the one before.
_ACCOUNTING = re.compile(r"x-anthropic-billing-header:[^\n]*\n*")
# Of all calls of a conversation, as JSON.
MOST_INPUT_CHARACTERS = 4 * 1024 * 1024


class Places(NamedTuple):
    """Where a message stands in the body: the whole of it, the parts of its content and its calls."""

    whole: str
    parts: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()


class Turn(NamedTuple):
    """A message, and where it comes from."""

    message: chat.Message
    places: Places


class _Placed(NamedTuple):
    block: Block | ToolReferenceBlock
    place: str


def read_turns(body: ConversationBody, thoughts: ThoughtSigner) -> list[Turn]:
    """Returns the turns of a conversation; raises MeshError INVALID_REQUEST with `param`.

    Messages of one role that follow each other are one turn, as with Anthropic. Thoughts are left out if they are not
    this model's own.
    """
    turns = list(_instructions(body))
    for role, entries in groupby(enumerate(body.messages), lambda entry: entry[1].role):
        messages = list(entries)
        place = f"messages[{messages[0][0]}].content"
        blocks = [block for at, message in messages for block in _blocks(message, f"messages[{at}].content")]
        if role == "assistant":
            turns.append(_assistant_turn(blocks, place, thoughts))
        elif role == "user":
            turns += _user_turns(blocks, place)
        else:
            turns.append(Turn(chat.Message("system", _text(blocks, role)), Places(place)))
    _check_inputs(turns)
    return turns


def _instructions(body: ConversationBody) -> Iterator[Turn]:
    system = body.system
    texts = [system] if isinstance(system, str) else [block.text for block in system or ()]
    if texts and (line := _ACCOUNTING.match(texts[0])):
        texts[0] = texts[0][line.end() :]
    if text := _APART.join(filter(None, texts)):
        yield Turn(chat.Message("system", text), Places("system"))


def _blocks(message: MessageParam, place: str) -> list[_Placed]:
    """Returns the blocks of a message, at least one unless it is the assistant's."""
    if isinstance(message.content, str):
        return [_Placed(TextBlock(message.content), place)]
    if not message.content and message.role != "assistant":
        raise invalid(place, f"'{place}' must not be empty for the role '{message.role}'; add a block.")
    return [_Placed(block, f"{place}[{at}]") for at, block in enumerate(message.content)]


def _user_turns(blocks: Sequence[_Placed], place: str) -> list[Turn]:
    """Returns the results of calls, each a turn of its own, and what the user says after them."""
    results = [_result_turn(block, place) for block, place in blocks if isinstance(block, ToolResultBlock)]
    said = [entry for entry in blocks if not isinstance(entry.block, ToolResultBlock)]
    if not said:
        return results
    content, parts = _content(said, "user")
    return [*results, Turn(chat.Message("user", content), Places(place, parts))]


def _result_turn(result: ToolResultBlock, place: str) -> Turn:
    content = result.content or ""
    placed = (
        [_Placed(TextBlock(content), f"{place}.content")]
        if isinstance(content, str)
        else [_Placed(block, f"{place}.content[{at}]") for at, block in enumerate(content)]
    )
    if result.is_error:
        placed = _after_failure(placed, place)
    written, parts = _content(placed, "user")
    return Turn(chat.Message("tool", written, tool_call_id=result.tool_use_id), Places(place, parts))


def _after_failure(placed: Sequence[_Placed], place: str) -> list[_Placed]:
    """Returns the blocks of a result with the words that the call has failed before the first text."""
    for at, (block, where) in enumerate(placed):
        if isinstance(block, TextBlock):
            return [*placed[:at], _Placed(TextBlock(_FAILED + block.text), where), *placed[at + 1 :]]
    return [_Placed(TextBlock(_FAILED.strip()), place), *placed]


def _content(blocks: Iterable[_Placed], role: str) -> tuple[str | list[_ChatPart], tuple[str, ...]]:
    """Returns texts and images as the content of a message, and the place of each part unless it is one text."""
    parts: list[_ChatPart] = []
    places: list[str] = []
    shown = [entry for entry in blocks if not isinstance(entry.block, ToolReferenceBlock)]
    for is_text, entries in groupby(shown, lambda entry: isinstance(entry.block, TextBlock)):
        following = list(entries)
        if is_text:
            parts.append(chat.TextPart(_text(following, role)))
            places.append(following[0].place)
        else:
            parts += [chat.ImagePart(chat.ImageUrl(_image_url(block, place, role))) for block, place in following]
            places += [place for _, place in following]
    if not parts:
        return "", ()
    only = parts[0]
    return (only.text, ()) if len(parts) == 1 and isinstance(only, chat.TextPart) else (parts, tuple(places))


def _text(blocks: Iterable[_Placed], role: str) -> str:
    texts = [block.text if isinstance(block, TextBlock) else _refuse(place, role) for block, place in blocks]
    return _APART.join(filter(None, texts))


def _image_url(block: Block | ToolReferenceBlock, place: str, role: str) -> str:
    if not isinstance(block, ImageBlock):
        _refuse(place, role)
    source = block.source
    if isinstance(source, Base64Source):
        return f"data:{source.media_type};base64,{source.data}"
    if isinstance(source, UrlSource):
        return source.url
    param = f"{place}.source"
    raise invalid(param, f"'{param}' names a file, and this service keeps none; send 'base64' or 'url'.")


def _assistant_turn(blocks: Sequence[_Placed], place: str, thoughts: ThoughtSigner) -> Turn:
    text: list[str] = []
    thought: list[str] = []
    calls: list[chat.ToolCall] = []
    places: list[str] = []
    for block, where in blocks:
        if isinstance(block, TextBlock):
            text.append(block.text)
        elif isinstance(block, ThinkingBlock):
            thought.append(thoughts.read(block.thinking, block.signature, where))
        elif isinstance(block, ToolUseBlock):
            arguments = msgspec.json.encode(block.input).decode()
            calls.append(chat.ToolCall(block.id, chat.FunctionCall(block.name, arguments)))
            places.append(where)
        elif not isinstance(block, RedactedThinkingBlock):
            _refuse(where, "assistant")
    said = "".join(text)
    message = chat.Message(
        "assistant",
        None if calls and not said else said,
        tool_calls=calls or None,
        reasoning_content=_APART.join(filter(None, thought)) or None,
    )
    return Turn(message, Places(place, (), tuple(places)))


def _check_inputs(turns: Iterable[Turn]) -> None:
    """Refuses inputs of calls that are larger than any text may be: to the limit of a body they look like images."""
    calls = (call.function for turn in turns for call in turn.message.tool_calls or ())
    if sum(len(function.arguments) for function in calls if function) > MOST_INPUT_CHARACTERS:
        most = f"{MOST_INPUT_CHARACTERS:,} characters in the 'input' of their 'tool_use' blocks"
        raise invalid("messages", f"'messages' must have at most {most} together; send less.")


def _refuse(place: str, role: str) -> NoReturn:
    raise invalid(place, f"'{place}' is a block that does not belong to the role '{role}'; leave it out or move it.")
