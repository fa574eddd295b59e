"""Answers as servers write them, written by hand after the source or the documentation that is named beside them.

None of these servers has been asked. Each stream says "Hello", and has read nine tokens and written four.
"""

from __future__ import annotations

import json
from typing import Any

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
DONE = b"data: [DONE]\n\n"


def event(document: Any) -> bytes:
    """Returns one event."""
    return f"data: {json.dumps(document)}\n\n".encode()


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **others: Any) -> bytes:
    """Returns the event of one part of an answer."""
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return event({"object": "chat.completion.chunk", "choices": choices, **others})


ROLE = chunk({"role": "assistant", "content": ""})
HELLO = chunk({"content": "Hello"})
STREAMS = {
    # The real server is asked in the integration tests.
    "llama.cpp": [
        chunk({"role": "assistant", "content": None}),
        chunk({"content": "Hello"}, prompt_progress={"total": 9, "processed": 9}),
        chunk({}, "stop"),
        chunk(usage=USAGE, timings={"predicted_n": 4}),
        DONE,
    ],
    # vllm 0.33.0: entrypoints/openai/chat_completion/serving.py. The last text comes with the reason of the end.
    "vllm": [
        ROLE,
        chunk({"content": "Hel"}),
        event({"choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop", "stop_reason": None}]}),
        chunk(usage=USAGE | {"prompt_tokens_details": None}),
        DONE,
    ],
    # sglang 0.5.23: srt/entrypoints/openai/serving_chat.py and sse_utils.py.
    "sglang": [
        chunk({"reasoning_content": None, "role": "assistant", "content": ""}),
        chunk({"reasoning_content": None, "content": "Hello"}),
        chunk({"reasoning_content": None}, "stop"),
        chunk(usage=USAGE | {"reasoning_tokens": 0, "completion_tokens_details": None}),
        DONE,
    ],
    # Ollama 0.33.0-rc2: openai/openai.go and middleware/openai.go. The last chunk keeps the rest of the one before.
    "ollama": [
        chunk({"role": "assistant", "content": "Hello"}, system_fingerprint="fp_ollama"),
        chunk({}, "stop", system_fingerprint="fp_ollama"),
        chunk(usage=USAGE, system_fingerprint="fp_ollama"),
        DONE,
    ],
    # Before 0.32.6 each chunk had the role, and the end no chunk of its own.
    "ollama, older": [
        chunk({"role": "assistant", "content": "Hello"}),
        chunk({"role": "assistant", "content": ""}, "stop"),
        chunk(usage=USAGE),
        DONE,
    ],
    # TabbyAPI e632af4: endpoints/OAI/utils/chat_completion.py. There is no role, its pings are comments, its lines end
    # with carriage returns, and the reason of the end comes with the usage.
    "tabbyapi": [
        b": ping - 2026-08-13 18:55:45\r\n\r\n",
        HELLO.replace(b"\n", b"\r\n"),
        chunk({}, "stop", usage=USAGE | {"prompt_time": 0.1, "completion_tokens_per_sec": "Indeterminate"}),
        b"data: [DONE]\r\n\r\n",
    ],
    # LM Studio: chunks as reported of 0.3.9 in its bug tracker (378); no source shows the chunk with the usage.
    "lm studio": [
        chunk({"role": "assistant", "content": "Hello"}, system_fingerprint="model"),
        chunk({}, "stop", system_fingerprint="model"),
        chunk(usage=USAGE),
        DONE,
    ],
    "usage with the end": [HELLO, chunk({}, "stop", usage=USAGE)],
    "usage in every chunk": [
        chunk({"content": "Hello"}, usage={"prompt_tokens": 9, "completion_tokens": 3}),
        chunk({}, "stop", usage=USAGE),
        DONE,
    ],
    "comments": [b": keep-alive\n\n", b"event: message\n", HELLO, b"\n\n", chunk({}, "stop", usage=USAGE), DONE],
    "carriage returns": [HELLO.replace(b"\n", b"\r\n"), chunk({}, "stop", usage=USAGE), b"data:[DONE]"],
}
_TABBY = "Prompt length 3010 exceeds the available context size of 2048 tokens"
_LM_STUDIO = (
    "Input does not fit in context length. The input has 3010 tokens, but the context length only supports 2048"
)
# Refusals of a prompt of 3010 tokens, where 2048 fit.
TOO_LONG = {
    "llama.cpp": b'{"error":{"code":400,"message":"request (3010 tokens) exceeds the available context size (2048 '
    b'tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":3010,"n_ctx":2048}}',
    # renderers/params.py of vllm 0.33.0.
    "vllm": b'{"error":{"message":"This model\'s maximum context length is 2048 tokens. However, your prompt contains '
    b'3010 input tokens, which exceeds this limit even without any output tokens.","type":"BadRequestError",'
    b'"param":"input_tokens","code":400}}',
    # managers/tokenizer_manager.py of sglang 0.5.23.
    "sglang": b'{"object":"error","message":"The input (3010 tokens) is longer than the model\'s context length (2048 '
    b'tokens).","type":"BadRequestError","param":null,"code":400}',
    # common/errors.py of TabbyAPI.
    "tabbyapi": json.dumps(
        {"error": {"message": _TABBY, "type": "invalid_request_error", "code": "context_length_exceeded"}}
    ).encode(),
    # As reported of LM Studio 0.4.21 in its bug tracker (2322), and of older ones (237, 546).
    "lm studio": json.dumps({"error": {"message": _LM_STUDIO}, "message": _LM_STUDIO}).encode(),
    "lm studio, older": b'{"error":"Trying to keep the first 3010 tokens when context the overflows. However, the '
    b'model is loaded with context length of only 2048 tokens, which is not enough."}',
    "lm studio, with llama.cpp": b'{"error":"The number of tokens to keep from the initial prompt is greater than the '
    b'context length (n_keep: 3010>= n_ctx: 2048)."}',
}
# Refusals of a prompt that would fit, with an answer that does not, or of one whose size is not said.
TOO_LONG_TOGETHER = {
    "vllm, older": b'{"error":{"message":"This model\'s maximum context length is 2048 tokens. However, you requested '
    b'3010 tokens (1010 in the messages, 2000 in the completion).","type":"BadRequestError","code":400}}',
    "sglang": b'{"object":"error","message":"Requested token count exceeds the model\'s maximum context length of 2048 '
    b"tokens. You requested a total of 3010 tokens: 1010 tokens from the input messages and 2000 tokens for the "
    b'completion.","code":400}',
    "tabbyapi": b'{"error":{"message":"Initial job allocation requires 3072 cache tokens, which exceeds the available '
    b'context size of 2048 tokens","code":"context_length_exceeded"}}',
    "lm studio, with mlx": b'{"error":"Context size has been exceeded."}',
}
