"""The receipt is found wherever clients keep it, and what it covers is what came before it."""

from __future__ import annotations

import pytest

from services.common.receipts.finding import covered, find_token

TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJpYXQiOjF9.AAAA-_"
EVENTS = b'data: {"a":1}\n\ndata: [DONE]\n\n'
STREAM = EVENTS + f": tiermesh-receipt {TOKEN}\n\n".encode()


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"  {TOKEN}\n",
        f"HTTP/1.1 200 OK\r\nx-request-id: req_1\r\nX-Tiermesh-Receipt: {TOKEN}\r\nDate: today\r\n\r\n",
        f"x-tiermesh-receipt: {TOKEN}",
        f"x-tiermesh-receipt:{TOKEN}\n\n" + '{"answer": 1}',
        STREAM.decode(),
        f": tiermesh-receipt {TOKEN}",
        # Some tools end lines of text in their own way, and some drop the last ones.
        STREAM.decode().rstrip(),
    ],
)
def test_the_receipt_is_found(text: str) -> None:
    assert find_token(text.encode()) == TOKEN


def test_an_answer_cannot_bring_a_receipt_of_its_own() -> None:
    """What a model writes stands in JSON; whatever looks like a receipt before the end of a stream is no receipt."""
    forged = b": tiermesh-receipt forged\n\n" + STREAM
    assert find_token(forged) == TOKEN
    assert covered(forged) == b": tiermesh-receipt forged\n\n" + EVENTS


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (STREAM, EVENTS),
        (EVENTS, EVENTS),
        (b"", b""),
        (b": keep-alive\n\n" + STREAM, b": keep-alive\n\n" + EVENTS),
        (STREAM + b"data: more\n\n", STREAM + b"data: more\n\n"),
        (b'{"content": ": tiermesh-receipt x"}', b'{"content": ": tiermesh-receipt x"}'),
        (bytes(range(256)), bytes(range(256))),
    ],
)
def test_what_the_digest_covers(answer: bytes, part: bytes) -> None:
    assert covered(answer) == part
