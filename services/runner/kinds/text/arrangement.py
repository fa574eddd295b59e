"""Arranges a conversation as its model's chat template takes it, without losing a word of it.

OpenAI lets instructions stand anywhere and the results of a turn's calls come in any order. Many templates know one
system message, and tell the results apart by their order alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.runner.kinds.text.prompt.accepted import Accepted, SystemPlace
from tiermesh.runner.v1.runner_pb2 import ContentPart, Message, ToolCall

_APART = "\n\n"


def arrange(messages: Sequence[Message], accepted: Accepted, instructions: str = "") -> Sequence[Message]:
    """Returns the conversation in the order, and with the system messages, that a template takes.

    - Results follow the turn that made the calls, in the order of the calls.
    - Leading system messages become one. So do later ones if the template takes none in their place. If it takes none
      at all, their text begins the first message of the user.
    - `instructions` that the client did not write follow the leading system messages.
    - A name that the template would not show begins the text of its message. The assistant's own name does not: a model
      repeats what its turns begin with.
    """
    if not instructions and _is_arranged(messages, accepted):
        return messages
    if not accepted.names:
        messages = [_named(message) for message in messages]
    if instructions:
        leading = _leading(messages)
        messages = [*messages[:leading], Message(role="system", content=instructions), *messages[leading:]]
    return _with_one_system(_with_sorted_results(messages), accepted.system)


def _is_arranged(messages: Sequence[Message], accepted: Accepted) -> bool:
    """Tells at little cost that there is nothing to arrange, as in most conversations."""
    roles = [message.role for message in messages]
    first = roles[0] if roles else ""
    return (
        "tool" not in roles
        and "system" not in roles[1:]
        and not (first == "system" and accepted.system is SystemPlace.NOWHERE)
        and (accepted.names or not [message for message in messages if message.name])
    )


def _named(message: Message) -> Message:
    return _prefixed(f"{message.name}: ", message) if message.name and message.role in {"system", "user"} else message


def _prefixed(text: str, message: Message) -> Message:
    """Returns a message whose text begins with another one."""
    changed = Message()
    changed.CopyFrom(message)
    if changed.parts:
        del changed.parts[:]
        changed.parts.extend([ContentPart(text=text), *message.parts])
    else:
        changed.content = text + message.content
    return changed


def _with_sorted_results(messages: Sequence[Message]) -> Sequence[Message]:
    if not any(message.role == "tool" for message in messages):
        return messages
    arranged: list[Message] = []
    at = 0
    while at < len(messages):
        message = messages[at]
        arranged.append(message)
        at += 1
        if message.tool_calls:
            end = at
            while end < len(messages) and messages[end].role in {"tool", "system"}:
                end += 1
            arranged += _results_first(message.tool_calls, messages[at:end])
            at = end
    return arranged


def _results_first(calls: Sequence[ToolCall], following: Sequence[Message]) -> list[Message]:
    """Returns what follows a turn with calls: its results in their order, then whatever else there is."""
    places = {call.id: (at, call.name) for at, call in reversed(list(enumerate(calls)))}
    other = (len(calls), "")
    placed = [(places.get(message.tool_call_id, other) if message.role == "tool" else other) for message in following]
    # Sorting keeps the order of equals.
    order = sorted(range(len(following)), key=lambda at: placed[at][0])
    return [_of_function(placed[at][1], following[at]) for at in order]


def _of_function(name: str, result: Message) -> Message:
    """Returns a result with the name of its function, which some templates show in place of the call's id."""
    if result.name or not name:
        return result
    changed = Message()
    changed.CopyFrom(result)
    changed.name = name
    return changed


def _leading(messages: Sequence[Message]) -> int:
    """Returns how many system messages a conversation begins with."""
    return next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))


def _with_one_system(messages: Sequence[Message], place: SystemPlace) -> Sequence[Message]:
    leading = _leading(messages)
    instructions, others = messages[:leading], messages[leading:]
    if place is not SystemPlace.ANYWHERE:
        instructions = [message for message in messages if message.role == "system"]
        others = [message for message in messages if message.role != "system"]
    if instructions and place is SystemPlace.NOWHERE:
        return _with_instructed_user(instructions, others)
    if len(instructions) <= 1 and len(instructions) == leading:
        return messages
    return [_joined(instructions), *others]


def _with_instructed_user(instructions: Sequence[Message], others: Sequence[Message]) -> Sequence[Message]:
    """Returns a conversation whose first message of the user begins with the instructions."""
    asked = next((at for at, message in enumerate(others) if message.role == "user"), None)
    if asked is None:
        return [_joined(instructions, role="user"), *others]
    return [*others[:asked], _joined([*instructions, others[asked]], role="user"), *others[asked + 1 :]]


def _joined(messages: Sequence[Message], role: str = "system") -> Message:
    """Returns one message with the content of several, each a paragraph of its own."""
    last = messages[-1]
    joined = Message(role=role, name=last.name if len(messages) == 1 or role != "system" else "")
    if not any(message.parts for message in messages):
        joined.content = _APART.join(message.content for message in messages if message.content)
        return joined
    for message in messages:
        parts = message.parts or ([ContentPart(text=message.content)] if message.content else [])
        if joined.parts and parts:
            joined.parts.add(text=_APART)
        joined.parts.extend(parts)
    return joined
