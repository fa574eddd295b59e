"""Open WebUI's server, and chats through it as its page in a browser begins them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agents.python.conftest import CONTEXT
from tests.agents.python.customer import Customer
from tests.agents.python.environment import Home
from tests.agents.python.open_webui import HOUSEKEEPING, OpenWebui

QUESTION = "What time is it?"
TOO_LONG = f"This model's maximum context length is {CONTEXT} tokens."


@pytest.fixture
async def customer(new_customer: Callable[..., Customer]) -> Customer:
    return new_customer()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
async def server(home: Home, customer: Customer) -> AsyncIterator[OpenWebui]:
    async with OpenWebui(home, customer) as server:
        yield server


async def test_chats_through_it(server: OpenWebui, customer: Customer, home: Home) -> None:
    """All in one test, because its server takes long to start."""
    assert {"tiermesh-max", "tiermesh-max-think"} <= await server.models()

    chat = await server.chat("tiermesh-max-think", QUESTION, HOUSEKEEPING)
    assert chat.answer["content"] == "I will look at the clock.\nIt is late."
    kinds = ["reasoning", "message", "function_call", "function_call_output"]
    assert [item["type"] for item in chat.answer["output"]] == [*kinds, "reasoning", "message"]
    assert texts(chat.answer, "reasoning") == ["There is a clock.", "The clock has answered."]
    assert (chat.title, chat.tags, chat.answer["followUps"]) == ("The hour", ["time"], ["And tomorrow?"])
    # The call and the answer; and a title, tags and further questions.
    used = customer.used
    assert (used.charged_requests, used.credits) == (5, 5 * 20)
    assert used.prompt_tokens > 5_000

    bare = await server.chat("tiermesh-max", QUESTION, {})
    assert bare.answer["content"] == chat.answer["content"]
    assert (customer.used.charged_requests, customer.used.credits) == (5 + 2, 5 * 20 + 2 * 15)

    refused = await server.chat("tiermesh-max", "word " * 2 * CONTEXT, {})
    assert refused.answer["error"]["content"].startswith(TOO_LONG)
    assert customer.used.charged_requests == 5 + 2
    assert home.attempts == []


def texts(answer: dict[str, Any], kind: str) -> list[str]:
    """The texts of one kind of an answer's parts."""
    return [part["text"] for item in answer["output"] if item["type"] == kind for part in item["content"]]
