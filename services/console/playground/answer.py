"""A whole answer, for browsers without scripts."""

from __future__ import annotations

import msgspec

from services.console.playground.edge import SEE_RECEIPTS, Failure


class Called(msgspec.Struct, frozen=True):
    """The function that the model calls; `arguments` is JSON."""

    name: str
    arguments: str


class Call(msgspec.Struct, frozen=True):
    """A call of a function."""

    function: Called


class Answer(msgspec.Struct, frozen=True):
    """What the model says, thinks and calls."""

    content: str | None = None
    reasoning_content: str = ""
    tool_calls: list[Call] = []


class _Choice(msgspec.Struct):
    message: Answer


class _Completion(msgspec.Struct):
    choices: list[_Choice]


def read_answer(body: bytes) -> Answer:
    """Returns the answer in a chat completion; raises Failure for anything else."""
    try:
        return msgspec.json.decode(body, type=_Completion).choices[0].message
    except (msgspec.DecodeError, IndexError) as error:
        raise Failure(502, "The API's answer could not be read.", SEE_RECEIPTS) from error
