"""Which fields of a request have an effect on a model, by the names that OpenRouter lists them under."""

from __future__ import annotations

from services.common.catalog import Kind, Model

_CHAT = (
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "min_p",
    "n",
    "presence_penalty",
    "repetition_penalty",
    "response_format",
    "seed",
    "stop",
    # A `response_format` with a JSON schema, which is no field of its own.
    "structured_outputs",
    "temperature",
    "top_k",
    "top_logprobs",
    "top_p",
)
_TOOLS = ("parallel_tool_calls", "tool_choice", "tools")
_REASONING = ("reasoning_effort",)
_OTHERS: dict[Kind, tuple[str, ...]] = {
    "embedding": ("dimensions", "encoding_format"),
    "speech": ("response_format", "speed", "stream_format", "voice"),
    "transcription": ("language", "prompt", "response_format", "stream", "temperature", "timestamp_granularities"),
    "image": ("n", "negative_prompt", "output_format", "response_format", "seed", "size", "steps"),
}


def supported_parameters(model: Model) -> tuple[str, ...]:
    """Returns the names in alphabetical order."""
    if model.kind != "chat":
        return _OTHERS[model.kind]
    tools = _TOOLS if "tools" in model.capabilities else ()
    return tuple(sorted((*_CHAT, *tools, *(_REASONING if model.reasoning else ()))))
