"""The examples of the document; tests send those of requests and check those of answers against their types."""

from __future__ import annotations

from typing import Any

_MESSAGES = [{"role": "user", "content": "Name a colour."}]
_USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 2,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
_HEX = "0123456789abcdef0123456789abcdef"

CHAT: Any = {"model": "tiermesh-pro", "messages": _MESSAGES, "max_tokens": 50}
CHAT_COMPLETION: Any = {
    "id": f"chatcmpl-{_HEX}",
    "object": "chat.completion",
    "created": 1798761600,
    "model": "tiermesh-pro",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Blue.", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": _USAGE,
    "service_tier": None,
    "system_fingerprint": "fp_0123456789",
}
CHAT_STREAM = (
    f'data: {{"id":"chatcmpl-{_HEX}","object":"chat.completion.chunk","created":1798761600,"model":"tiermesh-pro",'
    '"service_tier":null,"system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":{"content":"Blue"},'
    '"logprobs":null,"finish_reason":null}]}\n\ndata: [DONE]\n\n'
)
TEXT: Any = {"model": "tiermesh-pro", "prompt": "Once upon a time", "max_tokens": 20}
TEXT_COMPLETION: Any = {
    "id": f"cmpl-{_HEX}",
    "object": "text_completion",
    "created": 1798761600,
    "model": "tiermesh-pro",
    "system_fingerprint": "fp_0123456789",
    "choices": [{"text": " there was", "index": 0, "logprobs": None, "finish_reason": "length"}],
    "usage": _USAGE,
}
RESPONSES: Any = {"model": "tiermesh-pro", "input": "Name a colour."}
RESPONSE: Any = {
    "id": f"resp_{_HEX}",
    "object": "response",
    "created_at": 1798761600,
    "status": "completed",
    "model": "tiermesh-pro",
    "output": [
        {
            "id": f"msg_{_HEX}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Blue.", "annotations": [], "logprobs": []}],
        }
    ],
    "usage": {"input_tokens": 11, "output_tokens": 2, "total_tokens": 13},
    "error": None,
    "incomplete_details": None,
}
EMBEDDINGS: Any = {"model": "tiermesh-embed", "input": ["red", "blue"], "encoding_format": "float"}
EMBEDDING_LIST: Any = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.013, -0.02]}],
    "model": "tiermesh-embed",
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}
SPEECH: Any = {"model": "tiermesh-speech", "input": "Good morning.", "voice": "alloy", "response_format": "wav"}
TRANSCRIPTION: Any = {"text": "Good morning.", "usage": {"type": "duration", "seconds": 1.2}}
IMAGES: Any = {"model": "tiermesh-image", "prompt": "A blue door", "size": "256x256", "response_format": "b64_json"}
IMAGE_LIST: Any = {
    "created": 1798761600,
    "data": [{"b64_json": "iVBORw0KGgo="}],
    "output_format": "png",
}
MODEL: Any = {
    "id": "tiermesh-pro",
    "object": "model",
    "created": 0,
    "owned_by": "tiermesh",
    "available": True,
    "tier": "pro",
    "kind": "chat",
    "context_length": 4096,
    "capabilities": ["tools"],
    "pricing": {"unit": "request", "credits": 10, "usd": "0.10"},
}
MODELS: Any = {"object": "list", "data": [MODEL]}
BALANCE: Any = {"object": "balance", "account_id": "acct_1", "credits": 990, "held": 10, "usd": "9.90"}
RECEIPT: Any = {
    "id": f"req_{_HEX}",
    "object": "request",
    "status": "completed",
    "model": "tiermesh-pro",
    "key_id": "key_1",
    "quantity": 1,
    "credits_charged": 10,
    "credits_held": 0,
    "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},
    "created_at": 1798761600,
    "finished_at": 1798761601,
}
_SUMS = {
    "requests": 3,
    "charged_requests": 2,
    "credits": 20,
    "prompt_tokens": 22,
    "completion_tokens": 4,
    "usd": "0.20",
}
USAGE: Any = {
    "object": "usage",
    "from": "2026-11-01T00:00:00Z",
    "to": "2026-12-01T00:00:00Z",
    "group_by": "day",
    "data": [{"day": "2026-11-30", **_SUMS}],
    "total": _SUMS,
}
NEW_KEY: Any = {"name": "ci", "endpoints": ["chat"], "requests_per_minute": 60}
KEY: Any = {
    "id": "key_1",
    "object": "api_key",
    "name": "ci",
    "hint": "sk-tiermesh-ab",
    "models": [],
    "endpoints": ["chat"],
    "requests_per_minute": 60,
    "monthly_credit_cap": 0,
    "created_at": 1798761600,
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
    "replaced_by": None,
    "created_by": None,
}
KEYS: Any = {"object": "list", "data": [KEY], "last_id": "key_1", "has_more": False}
CREATED_KEY: Any = {**KEY, "key": "sk-tiermesh-…"}
REVOKED_KEY: Any = {"id": "key_1", "object": "api_key.deleted", "deleted": True}
