"""Runs conversations of one framework, in its own environment, and prints what came of each as JSON.

The standard input is `{"base_url": …, "api_keys": {"<conversation>": "<key>"}}`. A program next to this file has one
function for each conversation: it takes an `Access` and returns what the test looks at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

MODEL = "tiermesh-max"
THINKING_MODEL = "tiermesh-max-think"
QUESTION = "What is the weather in Paris?"
CITY_QUESTION = "Tell me of a city."
LONG_QUESTION = "word " * 40_000


@dataclass(frozen=True, slots=True)
class Access:
    """The mesh, and the key of this conversation."""

    base_url: str
    api_key: str


class City(BaseModel):
    """The shape of a structured answer."""

    name: str
    population: int


class Weather:
    """The function that the scripted model calls, and the cities that it was called for."""

    def __init__(self) -> None:
        self.cities: list[str] = []

    def look_up(self, city: str) -> str:
        """Returns the weather in a city."""
        self.cities.append(city)
        return "18 degrees"


async def error_of(conversation: Awaitable[Any]) -> dict[str, str]:
    """Returns the error that a conversation ends with, as the framework shows it; fails if there is none."""
    try:
        await conversation
    except Exception as error:  # noqa: BLE001 - which one it is, is the result
        return {"error": type(error).__name__, "message": str(error)}
    raise AssertionError("the conversation has ended without an error")


def run_scenarios(*conversations: Callable[[Access], Awaitable[Any]]) -> None:
    """Has the conversations that are asked for, by the names of these functions, one after the other."""
    known = {function.__name__: function for function in conversations}
    asked = json.load(sys.stdin)
    # What a framework prints by itself is no result.
    with contextlib.redirect_stdout(sys.stderr):
        results = {
            name: asyncio.run(_outcome(known[name], Access(asked["base_url"], key)))
            for name, key in asked["api_keys"].items()
        }
    json.dump(results, sys.stdout)


async def _outcome(conversation: Callable[[Access], Awaitable[Any]], access: Access) -> Any:
    """Returns what a conversation returns; an error of one is not the end of the others."""
    try:
        return await conversation(access)
    except Exception:  # noqa: BLE001 - the test shows it
        return {"failed": traceback.format_exc()}
