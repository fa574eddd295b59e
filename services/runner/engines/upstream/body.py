"""The request for one job, in the words of its server."""

from __future__ import annotations

from typing import Any

from services.runner.engines.upstream.server import UpstreamServer
from services.runner.kinds.conversation.job import ConversationJob
from services.runner.kinds.text.job import Sampling
from services.runner.kinds.text.prompt.tools import Mode, Toolbox
from services.runner.refusals import not_served, tools_not_shown

# Parameters of open models, and the values with which they change nothing.
_OPEN = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


def request_body(job: ConversationJob, server: UpstreamServer) -> dict[str, Any]:
    """Returns the body of `POST /v1/chat/completions`; raises MeshError for what the server would ignore."""
    if job.toolbox.callable and not server.tools:
        raise tools_not_shown()
    body: dict[str, Any] = {
        "model": server.model,
        "messages": job.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_sampling(job.sampling, server),
        **_tools(job.toolbox),
        **server.quirks.always,
    }
    if job.max_tokens is not None:
        body["max_tokens"] = job.max_tokens
    if job.stop:
        body["stop"] = list(job.stop)
    if job.schema is not None:
        schema = {"name": "answer", "schema": job.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if server.quirks.template_variables:
        body["chat_template_kwargs"] = {"enable_thinking": job.thinking, "thinking": job.thinking}
    effort = job.effort if job.thinking else server.quirks.effortless
    if effort:
        body["reasoning_effort"] = effort
    return body


def _sampling(sampling: Sampling, server: UpstreamServer) -> dict[str, Any]:
    fields: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    if sampling.presence_penalty:
        fields["presence_penalty"] = sampling.presence_penalty
    if sampling.frequency_penalty:
        fields["frequency_penalty"] = sampling.frequency_penalty
    if sampling.seed is not None:
        fields["seed"] = sampling.seed
    for name in server.quirks.ignored & fields.keys():
        raise not_served(name, "its server ignores it")
    for name, neutral in _OPEN.items():
        value = getattr(sampling, name)
        if value != neutral:
            fields[_spelled(name, server)] = value
    return fields


def _spelled(name: str, server: UpstreamServer) -> str:
    spelled = server.quirks.parameters.get(name)
    if spelled is None:
        raise not_served(name, "its server may ignore it")
    return spelled


def _tools(toolbox: Toolbox) -> dict[str, Any]:
    """Returns the functions on offer; those that must be called are the only ones that the server sees."""
    if not toolbox.callable:
        return {}
    forced = toolbox.mode is Mode.REQUIRED
    tools = []
    for tool in toolbox.required if forced else toolbox.tools:
        document = tool.document()
        if tool.strict:
            document["function"]["strict"] = True
        tools.append(document)
    return {
        "tools": tools,
        "tool_choice": "required" if forced else "auto",
        "parallel_tool_calls": not toolbox.single,
    }
