"""What a person asks in the playground, and the request of the API that it becomes."""

from __future__ import annotations

from typing import Any

import msgspec

from services.common.errors import Code, MeshError
from services.console.http.forms import Form

_MOST_TOKENS = 2**31 - 1


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question as the page sends it. The API checks what it means."""

    model: str
    # As the API defines them, without the instructions.
    messages: list[dict[str, Any]]
    # Instructions for the model.
    system: str = ""
    # Functions for the model, as JSON; empty for none.
    tools: str = ""
    # The most tokens of the answer; empty for as many as there is room for.
    max_tokens: str = ""


def read_question(body: bytes) -> Question:
    """Returns the question in a body of JSON; raises MeshError INVALID_REQUEST for what no page of ours sends."""
    try:
        return msgspec.json.decode(body, type=Question)
    except (msgspec.DecodeError, RecursionError) as error:
        message = "The question could not be read. Reload the page and try again."
        raise MeshError(Code.INVALID_REQUEST, message) from error


def question_of(form: Form) -> Question:
    """Returns the question in a form, which has one message; raises MeshError INVALID_REQUEST if that is empty."""
    message = form.text("message")
    if not message:
        raise MeshError(Code.INVALID_REQUEST, "Write a message.", param="message")
    return Question(
        model=form.text("model"),
        messages=[{"role": "user", "content": message}],
        system=form.text("system"),
        tools=form.text("tools"),
        max_tokens=form.text("max_tokens"),
    )


def chat_request(question: Question, *, stream: bool) -> bytes:
    """Returns the body for POST /v1/chat/completions; raises MeshError INVALID_REQUEST for options that are none."""
    instructions = [{"role": "system", "content": question.system}] if question.system.strip() else []
    request: dict[str, Any] = {"model": question.model, "messages": [*instructions, *question.messages]}
    if question.tools.strip():
        request["tools"] = _tools(question.tools)
    if question.max_tokens.strip():
        request["max_completion_tokens"] = _limit(question.max_tokens.strip())
    if stream:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(request)


def _tools(text: str) -> list[Any]:
    try:
        return msgspec.json.decode(text, type=list[Any])
    except (msgspec.DecodeError, RecursionError) as error:
        message = "Tools must be a JSON list of functions, each as in the example."
        raise MeshError(Code.INVALID_REQUEST, message, param="tools") from error


def _limit(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= _MOST_TOKENS:
        return int(text)
    message = f"The longest answer must be a whole number of tokens from 1 to {_MOST_TOKENS:,}."
    raise MeshError(Code.INVALID_REQUEST, message, param="max_tokens")
