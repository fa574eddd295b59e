"""Checks that each call has its result and each result its call: a model cannot tell what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.chat.request import Message
from services.edge.http.parsing import invalid


def check_results(messages: Sequence[Message]) -> None:
    """Raises MeshError INVALID_REQUEST, with `param`, unless the results of each turn's calls follow it, one for each.

    Instructions may stand between them. Ids have to differ within a turn only, for some models count from 0 in each.
    """
    # What the calls of the last turn are, by id, as far as they have no result; and the ids that have one.
    open_calls: dict[str, str] = {}
    answered: set[str] = set()
    for at, message in enumerate(messages):
        if message.role == "tool":
            _check_result(f"messages[{at}].tool_call_id", message.tool_call_id or "", open_calls, answered)
        elif message.role in {"user", "assistant"}:
            _check_all_answered(open_calls)
            open_calls, answered = _calls(f"messages[{at}]", message), set()
    _check_all_answered(open_calls)


def _check_result(param: str, call_id: str, open_calls: dict[str, str], answered: set[str]) -> None:
    if call_id in answered:
        raise invalid(param, f"'{param}' is of a call that has a result already; send one result for each call.")
    if call_id not in open_calls:
        message = "is not the id of a call in the turn before it; send that turn, with its calls, before their results."
        raise invalid(param, f"'{param}' {message}")
    del open_calls[call_id]
    answered.add(call_id)


def _check_all_answered(open_calls: dict[str, str]) -> None:
    for param in open_calls.values():
        raise invalid(param, f"'{param}' is a call without a result; send its result before the next turn.")


def _calls(place: str, message: Message) -> dict[str, str]:
    """Returns the places of the calls in a turn, by their ids."""
    calls: dict[str, str] = {}
    for at, call in enumerate(message.tool_calls or ()):
        param = f"{place}.tool_calls[{at}].id"
        if call.id in calls:
            raise invalid(param, f"'{param}' is the id of an earlier call in this turn; give each call its own.")
        calls[call.id] = param
    return calls
