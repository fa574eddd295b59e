"""The request for one job, in the words of its server."""

from __future__ import annotations

from typing import Any

from services.runner.engines.upstream.server import UpstreamServer
from services.runner.kinds.conversation.job import ConversationJob
from services.runner.kinds.conversation.lacks import MIN_P, REPETITION_PENALTY, SEED, TOP_K
from services.runner.kinds.text.job import Sampling
from services.runner.kinds.text.prompt.tools import Mode, Toolbox
from services.runner.refusals import tools_not_shown

# Parameters of open models, and the values with which they change nothing.
_OPEN = {TOP_K: 0, MIN_P: 0.0, REPETITION_PENALTY: 1.0}
# No model has so many tokens to choose from. A server would sort them all, and with the same seed draw another one.
_ALL_TOKENS = 1 << 19


def request_body(job: ConversationJob, server: UpstreamServer) -> dict[str, Any]:
    """Returns the body of `POST /v1/chat/completions`; raises MeshError for what the server would ignore."""
    if job.toolbox.callable and not server.tools:
        raise tools_not_shown()
    body: dict[str, Any] = {
        **server.quirks.always,
        "model": server.model,
        "messages": job.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_sampling(job.sampling, server),
        **_tools(job.toolbox),
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
    if SEED.param in server.quirks.ignored & fields.keys():
        raise SEED.refusal()
    for lack, neutral in _OPEN.items():
        value = getattr(sampling, lack.param)
        if value != neutral and not (lack is TOP_K and value >= _ALL_TOKENS):
            spelled = server.quirks.parameters.get(lack.param)
            if spelled is None:
                raise lack.refusal()
            fields[spelled] = value
    return fields


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
