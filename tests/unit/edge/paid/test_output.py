"""What a runner has delivered is known, for another one to go on after it, and takes little memory."""

from __future__ import annotations

import tracemalloc

from services.common.text_digest import text_digest
from services.edge.paid.output import Output
from tests.unit.edge.backend import MODEL
from tiermesh.runner.v1.runner_pb2 import GenerateCall, GenerateReply

TOKENS = 4000
# A token and its text; a list of each took more than 100 bytes.
BYTES_PER_TOKEN = 16


def steps() -> list[bytes]:
    return [
        GenerateReply(text=f" {number:04}", token_ids=[100_000 + number]).SerializeToString()
        for number in range(TOKENS)
    ]


def test_another_runner_can_go_on_after_what_has_come() -> None:
    output = Output(MODEL, GenerateCall(max_tokens=TOKENS))
    for step in steps():
        assert output.take(GenerateReply.FromString(step)) == ""
    call = GenerateCall()
    call.resume_token_ids[:] = output.token_ids
    assert list(call.resume_token_ids) == list(range(100_000, 100_000 + TOKENS))
    assert output.text_digest() == text_digest("".join(f" {number:04}" for number in range(TOKENS)))
    assert output.take(GenerateReply(text="more", token_ids=[1])) == "more output than requested"


def test_a_token_takes_a_few_bytes() -> None:
    received, output = steps(), Output(MODEL, GenerateCall(max_tokens=TOKENS))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for step in received:
            output.take(GenerateReply.FromString(step))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < TOKENS * BYTES_PER_TOKEN
