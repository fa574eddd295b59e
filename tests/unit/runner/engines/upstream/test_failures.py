from __future__ import annotations

import pytest

from services.common.errors import Code
from services.runner.engines.upstream.failures import broken, refused, too_long
from tests.unit.runner.engines.upstream.recordings import TOO_LONG, TOO_LONG_TOGETHER


@pytest.mark.parametrize("server", TOO_LONG)
def test_a_prompt_that_is_too_long_is_known_by_any_servers_words(server: str) -> None:
    error = too_long(TOO_LONG[server], 2048)
    assert error is not None
    assert error.code is Code.CONTEXT_LENGTH_EXCEEDED
    assert "is 2048 tokens. However, your messages resulted in 3010 tokens" in error.message


@pytest.mark.parametrize("server", TOO_LONG_TOGETHER)
def test_no_wrong_number_is_said_of_a_prompt_that_is_too_long_with_its_answer(server: str) -> None:
    error = too_long(TOO_LONG_TOGETHER[server], 2048)
    assert error is not None
    assert error.code is Code.CONTEXT_LENGTH_EXCEEDED
    assert "your messages and the answer that you asked for need more" in error.message


@pytest.mark.parametrize(
    "body",
    [
        # A validation error of FastAPI, as TabbyAPI sends it.
        b'{"detail":[{"type":"missing","loc":["body","tools",0,"function","description"],"msg":"Field required"}]}',
        b'{"error":{"message":"\\"model\\" does not support thinking","type":"invalid_request_error"}}',
        b"{\"error\":\"'response_format.type' must be 'json_schema' or 'text'\"}",
        b'{"object":"error","message":"Tool choice exceeds what is offered","code":400}',
    ],
)
def test_another_refusal_is_none_of_the_context(body: bytes) -> None:
    assert too_long(body, 2048) is None
    assert broken(body, 2048).code is Code.UNAVAILABLE


@pytest.mark.parametrize(
    ("status", "code"),
    [
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
def test_what_a_status_means(status: int, code: Code) -> None:
    assert refused(status).code is code
