from __future__ import annotations

import pytest

from services.common.errors import Code
from services.runner.engines.upstream.failures import refused

LLAMA_CPP = (
    b'{"error":{"code":400,"message":"request (3010 tokens) exceeds the available context size (2048 tokens), try '
    b'increasing it","type":"exceed_context_size_error","n_prompt_tokens":3010,"n_ctx":2048}}'
)
VLLM = (
    b'{"error":{"message":"This model\'s maximum context length is 2048 tokens. However, you requested 3010 tokens in '
    b'the messages. Please reduce the length of the messages.","type":"BadRequestError","code":400}}'
)
SGLANG = (
    b'{"object":"error","message":"The input (3010 tokens) is longer than the model\'s context length (2048 tokens)."}'
)


@pytest.mark.parametrize("body", [LLAMA_CPP, SGLANG])
def test_a_prompt_that_is_too_long_is_known_by_any_servers_words(body: bytes) -> None:
    error = refused(400, body, 2048)
    assert error.code is Code.CONTEXT_LENGTH_EXCEEDED
    assert "is 2048 tokens. However, your messages resulted in 3010 tokens" in error.message


def test_a_prompt_that_is_too_long_for_vllm() -> None:
    assert refused(400, VLLM, 2048).code is Code.CONTEXT_LENGTH_EXCEEDED


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Code.INVALID_REQUEST),
        (422, Code.INVALID_REQUEST),
        (401, Code.UNAVAILABLE),
        (403, Code.UNAVAILABLE),
        (404, Code.UNAVAILABLE),
        (429, Code.OVERLOADED),
        (500, Code.UNAVAILABLE),
        (502, Code.UNAVAILABLE),
        (503, Code.OVERLOADED),
        (302, Code.UNAVAILABLE),
    ],
)
def test_the_words_of_a_server_reach_nobody(status: int, code: Code) -> None:
    error = refused(status, b'{"error":{"message":"http://10.0.0.7:8000 refuses sk-secret"}}', 2048)
    assert error.code is code
    assert "secret" not in error.message
    assert "10.0.0.7" not in error.message
