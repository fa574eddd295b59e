"""Frameworks for agents in scripted conversations with the simulated engine, each framework in its own environment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.agents.python.conftest import CONTEXT
from tests.agents.python.customer import Customer
from tests.agents.python.environment import HOOK, Home, program, run
from tests.support.mesh import LocalMesh
from tests.support.programs import ROOT

_PROGRAMS = "tests.agents.python.programs"
ANSWER = "It is 18 degrees in Paris."
CITY = {"name": "Paris", "population": 2100000}
THOUGHTS = ["I do not know the weather, but there is a function.", "The function has answered."]
LOOPED = {"answer": ANSWER, "streamed": True, "cities": ["Paris"]}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of a conversation, and what it costs."""

    result: dict[str, Any]
    charged_requests: int
    # A part of the message of an error.
    says: str = ""
    price: int = 15

    @property
    def credits(self) -> int:
        return self.charged_requests * self.price


def refused(error: str, says: str) -> Outcome:
    return Outcome({"error": error}, charged_requests=0, says=says)


NO_CREDITS = "Insufficient credits: a request to tiermesh-max costs 15, and 0 are available."
TOO_LONG = f"maximum context length is {CONTEXT} tokens"
EXPECTED = {
    "pydantic_ai": {
        "tools": Outcome({**LOOPED, "thoughts": []}, 2),
        "tools_by_responses": Outcome({**LOOPED, "thoughts": []}, 2),
        "thoughts": Outcome({**LOOPED, "thoughts": THOUGHTS}, 2, price=20),
        "structured": Outcome({"native": CITY, "called": CITY}, 2),
        "no_credits": refused("ModelQuotaExceededError", NO_CREDITS),
        "too_long": refused("ModelContextWindowExceededError", TOO_LONG),
    },
    "llama_index": {
        "tools": Outcome({**LOOPED, "thoughts": ""}, 2),
        "thoughts": Outcome({**LOOPED, "thoughts": "".join(THOUGHTS)}, 2, price=20),
        "structured": Outcome({"native": CITY, "called": CITY}, 2),
        "no_credits": refused("APIStatusError", NO_CREDITS),
        "too_long": refused("BadRequestError", TOO_LONG),
    },
    "smolagents": {
        "tools": Outcome(LOOPED, 2),
        "structured": Outcome({**LOOPED, "streamed": False}, 1),
        "no_credits": refused("AgentGenerationError", NO_CREDITS),
        "too_long": refused("AgentGenerationError", TOO_LONG),
    },
    "autogen": {
        "tools": Outcome({**LOOPED, "thoughts": ["I will look it up."]}, 2),
        # Of a thought and a text before a call, it keeps the text.
        "thoughts": Outcome({**LOOPED, "thoughts": ["I will look it up.", THOUGHTS[1]]}, 2, price=20),
        "structured": Outcome({"native": CITY}, 1),
        "no_credits": refused("APIStatusError", NO_CREDITS),
        "too_long": refused("BadRequestError", TOO_LONG),
    },
}
# pydantic-ai agrees with what the tests themselves are installed with.
ENVIRONMENTS = {"pydantic_ai": "", "llama_index": "frameworks", "smolagents": "frameworks", "autogen": "frameworks"}


@dataclass(frozen=True, slots=True)
class Played:
    """The conversations of one framework, which it has had in one process."""

    results: dict[str, dict[str, Any]]
    customers: dict[str, Customer]
    attempts: list[str]


@pytest.fixture(scope="module")
def play(mesh: LocalMesh, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Played]:
    @cache
    def play(framework: str) -> Played:
        """Lets a framework have all its conversations, the first time that it is asked for."""
        customers = {name: Customer(mesh, 0 if name == "no_credits" else 1000) for name in EXPECTED[framework]}
        home = Home(tmp_path_factory.mktemp(framework))
        asked = {"base_url": mesh.base_url, "api_keys": {name: one.api_key for name, one in customers.items()}}
        # The programs import what they share.
        environ = home.environ(PYTHONPATH=os.pathsep.join([str(HOOK), str(ROOT)]))
        command: list[str | Path] = [program(ENVIRONMENTS[framework]), "-m", f"{_PROGRAMS}.{framework}_agents"]
        done = run(command, environ, directory=home.directory, text=json.dumps(asked))
        assert done.returncode == 0, done.stderr
        return Played(json.loads(done.stdout), customers, home.attempts)

    return play


@pytest.mark.parametrize(
    ("framework", "conversation"), [(name, conversation) for name, all_ in EXPECTED.items() for conversation in all_]
)
def test_a_conversation(play: Callable[[str], Played], framework: str, conversation: str) -> None:
    expected = EXPECTED[framework][conversation]
    played = play(framework)
    result = dict(played.results[conversation])
    assert "failed" not in result, result["failed"]
    used = played.customers[conversation].used
    assert expected.says in result.pop("message", "")
    # Some count tokens themselves, from what the answers say.
    assert result.pop("prompt_tokens", used.prompt_tokens) == used.prompt_tokens
    assert result == expected.result
    assert (used.charged_requests, used.credits) == (expected.charged_requests, expected.credits)


@pytest.mark.parametrize("framework", EXPECTED)
def test_it_wants_nothing_from_elsewhere(play: Callable[[str], Played], framework: str) -> None:
    assert play(framework).attempts == []
