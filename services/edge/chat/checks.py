"""Decides which chats are valid, in what words the others are refused: the one place for all that types cannot say.

What only a model's own files can tell is left to its runner: the template, the tokenizer, the context, the vocabulary.
Everything here comes before a price is held, an image fetched or a runner asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from services.common.catalog import Model
from services.common.limits.chats import LONGEST_STOP, MOST_BIASES, MOST_MESSAGES
from services.edge.chat.request import ChatBody, ImagePart, Message, RefusalPart, Tool, ToolChoice
from services.edge.chat.results import check_results
from services.edge.chat.schemas import check_schemas
from services.edge.http.parsing import invalid

# Bytes of a body from which on its schemas may take milliseconds.
LARGE_BODY = 32 * 1024


async def check_chat_body(body: ChatBody, model: Model, *, max_choices: int, size: int) -> None:
    """Checks a chat of `size` bytes as `check_chat` does, in a thread if that may take long."""
    if size > LARGE_BODY and (body.tools or body.response_format):
        await asyncio.to_thread(check_chat, body, model, max_choices=max_choices)
    else:
        check_chat(body, model, max_choices=max_choices)


def check_chat(body: ChatBody, model: Model, *, max_choices: int) -> None:
    """Checks a chat for a model of the catalog; raises MeshError INVALID_REQUEST with `param`."""
    check_options(body, max_choices=max_choices)
    if "audio" in (body.modalities or ()):
        raise invalid("modalities", "'modalities' must be ['text'] here; for speech use POST /v1/audio/speech.")
    if len(body.messages) > MOST_MESSAGES:
        # Other endpoints make several of one: each result of a call is a message of its own.
        raise invalid("messages", f"'messages' must have at most {MOST_MESSAGES:,} turns and results; send fewer.")
    _check_tools(body, model)
    for index, message in enumerate(body.messages):
        _check_message(f"messages[{index}]", message, model)
    check_results(body.messages)
    if body.tools or body.response_format:
        check_schemas(body)


def check_options(body: ChatBody, *, max_choices: int) -> None:
    """Checks what chats and completions have in common; raises MeshError INVALID_REQUEST with `param`."""
    if (body.n or 1) > max_choices:
        raise invalid("n", f"'n' must be at most {max_choices}; {body.n} was sent.")
    if body.top_logprobs is not None and not body.logprobs:
        raise invalid("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.")
    if body.stream_options is not None and not body.stream:
        raise invalid("stream_options", "'stream_options' needs 'stream' to be true.")
    if body.stop is not None and not all(0 < len(stop) <= LONGEST_STOP for stop in body.stop_strings):
        raise invalid("stop", f"'stop' must hold strings of 1 to {LONGEST_STOP} characters only.")
    if body.logit_bias:
        _check_biases(body.logit_bias)


def _check_biases(biases: Mapping[str, float]) -> None:
    if len(biases) > MOST_BIASES:
        raise invalid("logit_bias", f"'logit_bias' must name at most {MOST_BIASES} tokens; it names {len(biases)}.")
    for key in biases:
        # The length first: Python refuses to read numbers of thousands of digits.
        if not (len(key) <= 10 and key.isascii() and key.isdigit() and int(key) < 2**32):
            raise invalid("logit_bias", "'logit_bias' must have token ids as names: whole numbers from 0 on.")


def _check_tools(body: ChatBody, model: Model) -> None:
    if body.web_search_options is not None:
        raise invalid(
            "web_search_options",
            "'web_search_options' is not supported: this service runs no tools of its own; leave it out.",
        )
    if body.functions:
        raise invalid("functions", "'functions' is not supported: OpenAI replaced it by 'tools'; send that.")
    if body.function_call not in (None, "none", "auto"):
        raise invalid(
            "function_call", "'function_call' is not supported: OpenAI replaced it by 'tool_choice'; send that."
        )
    if body.tools and "tools" not in model.capabilities:
        raise invalid(
            "tools", f"'tools' cannot be used with {model.id}; choose a model that has the capability 'tools'."
        )
    names: set[str] = set()
    for index, tool in enumerate(body.tools or ()):
        param = f"tools[{index}].{_check_member(tool, f'tools[{index}]')}.name"
        if tool.name.endswith("\n"):
            # To the end of a pattern, a line break is one.
            raise invalid(param, f"'{param}' must not end with a line break; leave it out.")
        if tool.name in names:
            raise invalid(param, f"'{param}' is the name of an earlier tool; give each its own.")
        names.add(tool.name)
        _check_format(tool, f"tools[{index}].custom.format")
    # What agents send that have no tools (yet) is what holds without any.
    if body.tool_choice not in (None, "none", "auto") and not names:
        raise invalid("tool_choice", "'tool_choice' must be 'none' or 'auto' without 'tools'; send the tools.")
    if isinstance(body.tool_choice, ToolChoice):
        _check_tool_choice(body.tool_choice, body, names)


def _check_member(value: Struct, place: str, others: Sequence[str] = ("function", "custom")) -> str:
    """Returns the member that a tool, a call or a choice has by its type; raises MeshError if it has another one."""
    member = getattr(value, "type", None) or "function"
    if getattr(value, member) is None:
        param = f"{place}.{member}"
        raise invalid(param, f"'{param}' is required for the type '{member}'; add it.")
    for other in others:
        if other != member and getattr(value, other) is not None:
            param = f"{place}.{other}"
            raise invalid(param, f"'{param}' is not for the type '{member}'; leave it out.")
    return member


def _check_format(tool: Tool, place: str) -> None:
    wanted = tool.custom.format if tool.custom else None
    if wanted is not None and wanted.type == "grammar" and wanted.grammar is None:
        param = f"{place}.grammar"
        raise invalid(param, f"'{param}' is required for the type 'grammar'; add it.")
    if wanted is not None and wanted.type == "text" and wanted.grammar is not None:
        param = f"{place}.grammar"
        raise invalid(param, f"'{param}' is not for the type 'text'; leave it out.")


def _check_tool_choice(choice: ToolChoice, body: ChatBody, names: set[str]) -> None:
    _check_member(choice, "tool_choice", ("function", "custom", "allowed_tools"))
    if choice.allowed_tools is not None:
        for at, tool in enumerate(choice.allowed_tools.tools):
            _check_member(tool, f"tool_choice.allowed_tools.tools[{at}]")
    if body.forced_function is not None and body.forced_function not in names:
        raise invalid("tool_choice", "'tool_choice' must name a tool that is in 'tools'.")
    if not (body.allowed_functions or set()) <= names:
        raise invalid("tool_choice", "'tool_choice' must allow only tools that are in 'tools'.")


def _check_message(place: str, message: Message, model: Model) -> None:
    role, content = message.role, f"{place}.content"
    if message.function_call is not None:
        param = f"{place}.function_call"
        raise invalid(param, f"'{param}' is not supported: OpenAI replaced it by 'tool_calls'; send that.")
    if message.audio is not None and message.content is None:
        param = f"{place}.audio"
        raise invalid(param, f"'{param}' is not supported: no audio is kept; send what was said as 'content'.")
    if message.content is None and not (role == "assistant" and (message.tool_calls or message.refusal)):
        raise invalid(content, f"'{content}' is required for the role '{role}'; add it.")
    for at, call in enumerate(message.tool_calls or ()):
        _check_member(call, f"{place}.tool_calls[{at}]")
    if role == "tool" and not message.tool_call_id:
        param = f"{place}.tool_call_id"
        raise invalid(param, f"'{param}' is required for the role 'tool'; send the id of the call that was answered.")
    if role != "assistant" and message.tool_calls:
        param = f"{place}.tool_calls"
        raise invalid(param, f"'{param}' is only for the role 'assistant'; leave it out.")
    if role != "assistant" and message.reasoning_content:
        param = f"{place}.reasoning_content"
        raise invalid(param, f"'{param}' is only for the role 'assistant'; leave it out.")
    if isinstance(message.content, list):
        _check_parts(content, message.content, role, model)


def _check_parts(place: str, parts: Sequence[Struct], role: str, model: Model) -> None:
    for param in _places(place, parts, RefusalPart) if role != "assistant" else ():
        raise invalid(
            param, f"'{param}' is of the type 'refusal', which is only for the role 'assistant'; send 'text'."
        )
    for param in _places(place, parts, ImagePart) if "vision" not in model.capabilities else ():
        raise invalid(param, f"'{param}' is an image, and {model.id} cannot see images; choose a model with vision.")


def _places(place: str, parts: Sequence[Struct], kind: type[Struct]) -> Iterator[str]:
    """Yields the places of the parts of one kind."""
    for index, part in enumerate(parts):
        if isinstance(part, kind):
            yield f"{place}[{index}]"
