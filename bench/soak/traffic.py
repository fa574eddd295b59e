"""Requests of all kinds, each checked by its client for the end that it must have."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bench.soak.customers import Customer, Customers
from services.common.receipts.finding import covered

MODEL = "tiermesh-pro"
# Tokens a second of each answer.
SPEED = 200.0
# Tokens of whole answers and of streams.
_SHORT, _LONG = (1, 16), (16, 64)
# What a leaving client has read at most before it leaves, in chunks of the stream.
_MOST_READ = 5
# A hasty client leaves within this time, in seconds.
_HASTE = 0.02
# No answer takes so long, in seconds.
_PATIENCE = 60.0
_SHOWN_ERRORS = 50
_KINDS = {"whole": 45, "stream": 40, "leave": 7, "hasty": 3, "refused": 4, "limited": 1}
_DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Window:
    """What happened in a part of the run; latencies are seconds beyond the engine's own time."""

    sent: int = 0
    answered: int = 0
    refused: int = 0
    left: int = 0
    errors: int = 0
    added: list[float] = field(default_factory=list)
    # Of the same requests sent to the bare relay.
    relayed: list[float] = field(default_factory=list)


class WrongAnswerError(Exception):
    """A client saw something that must not be."""


class Traffic:
    """Sends requests and keeps what clients saw; each window begins with an empty `window`."""

    def __init__(
        self, session: aiohttp.ClientSession, base_url: str, relay_url: str, customers: Customers, seed: int
    ) -> None:
        self._session = session
        self._url = base_url + "/chat/completions"
        self._relay_url = relay_url
        self._customers = customers
        self._random = random.Random(seed)
        self.window = Window()
        self.errors = 0
        self.prices: set[int] = set()
        # Credits that answers said they cost, and requests that were left after their first output, by account.
        self.charged: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.hasty = 0

    async def one(self) -> None:
        """Makes a request of a random kind; what goes wrong is counted and told, not raised."""
        (kind,) = self._random.choices(tuple(_KINDS), tuple(_KINDS.values()))
        self.window.sent += 1
        try:
            async with asyncio.timeout(_PATIENCE):
                await getattr(self, f"_{kind}")()
        except Exception as error:  # noqa: BLE001 - nothing may go wrong, whatever it is
            self.fail(f"{kind}: {error!r}")

    async def relay(self) -> None:
        """Sends a request past the mesh."""
        body = self._body(self._random.randint(*_SHORT), stream=False)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_PATIENCE), self._session.post(self._relay_url, data=body) as response:
                await response.read()
        except Exception as error:  # noqa: BLE001 - without it, a busy machine would not show
            self.fail(f"relay: {error!r}")
        self.window.relayed.append(time.perf_counter() - began)

    def fail(self, what: str) -> None:
        """Counts and tells an error."""
        self.window.errors += 1
        self.errors += 1
        if self.errors <= _SHOWN_ERRORS:
            sys.stdout.write(f"error at {time.strftime('%H:%M:%S')}: {what}\n")
            sys.stdout.flush()

    def _steady(self) -> Customer:
        return self._random.choice(self._customers.steady)

    async def _whole(self) -> None:
        customer, tokens = self._steady(), self._random.randint(*_SHORT)
        began = time.perf_counter()
        async with self._post(customer.api_key, self._body(tokens, stream=False)) as response:
            content = await response.read()
        self._timed(began, tokens)
        self._expect(response, 200, content)
        self._answered(customer, tokens, json.loads(content)["usage"], response.headers["x-tiermesh-credits-charged"])

    async def _stream(self) -> None:
        customer, tokens = self._steady(), self._random.randint(*_LONG)
        began = time.perf_counter()
        async with self._post(customer.api_key, self._body(tokens, stream=True)) as response:
            content = await response.read()
        self._timed(began, tokens)
        self._expect(response, 200, content)
        content = covered(content)
        if not content.endswith(_DONE):
            raise WrongAnswerError(f"a stream ended with {content[-200:]!r}")
        last = json.loads(content.removesuffix(_DONE).rstrip().rpartition(b"\n")[2].removeprefix(b"data: "))
        self._answered(customer, tokens, last["usage"], last["tiermesh"]["credits_charged"])

    async def _leave(self) -> None:
        """Leaves once some of the answer has been read, and so pays for it."""
        customer, chunks = self._steady(), self._random.randint(1, _MOST_READ)
        async with self._post(customer.api_key, self._body(_LONG[1], stream=True)) as response:
            if response.status != 200:
                self._expect(response, 200, await response.read())
            while chunks:
                line = await response.content.readline()
                if not line:
                    raise WrongAnswerError("a stream ended before it was left")
                chunks -= _has_text(line)
            response.close()
        self.window.left += 1
        self.left[customer.account_id] += 1

    async def _hasty(self) -> None:
        body = self._body(_LONG[1], stream=self._random.random() < 0.5)
        self.hasty += 1
        self.window.left += 1
        try:
            async with (
                asyncio.timeout(self._random.uniform(0, _HASTE)),
                self._post(self._customers.hasty.api_key, body) as response,
            ):
                self._expect(response, 200, b"")
                await response.read()
        except TimeoutError:
            return

    async def _refused(self) -> None:
        good = self._steady().api_key
        key, changes, status = self._random.choice((
            ("sk-tiermesh-unknown", {}, 401),
            (self._customers.poor.api_key, {}, 402),
            (good, {"model": "unknown"}, 404),
            (good, {"max_tokens": -1}, 400),
        ))  # fmt: skip
        body = self._body(_SHORT[0], stream=self._random.random() < 0.5, **changes)
        async with self._post(key, body) as response:
            self._expect(response, status, await response.read())
        self.window.refused += 1

    async def _limited(self) -> None:
        """Asks more often than the key may."""
        customer, tokens = self._customers.limited, _SHORT[0]
        async with self._post(customer.api_key, self._body(tokens, stream=False)) as response:
            content = await response.read()
        if response.status == 429:
            self.window.refused += 1
            return
        self._expect(response, 200, content)
        self._answered(customer, tokens, json.loads(content)["usage"], response.headers["x-tiermesh-credits-charged"])

    def _post(self, api_key: str, body: bytes) -> Any:
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        return self._session.post(self._url, data=body, headers=headers)

    def _body(self, tokens: int, *, stream: bool, **changes: object) -> bytes:
        body: dict[str, object] = {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": f"Tell me about bridge {self._random.randrange(10**6)} over the river."},
            ],
            "max_tokens": tokens,
            "stream": stream,
        }
        if stream:
            body["stream_options"] = {"include_usage": True}
        return json.dumps(body | changes).encode()

    def _timed(self, began: float, tokens: int) -> None:
        # Between two tokens passes the time of one; what passes before the first one is the mesh's.
        self.window.added.append(time.perf_counter() - began - (tokens - 1) / SPEED)

    def _expect(self, response: aiohttp.ClientResponse, status: int, content: bytes) -> None:
        if response.status != status:
            raise WrongAnswerError(f"status {response.status} instead of {status}: {content[:300]!r}")

    def _answered(self, customer: Customer, tokens: int, usage: dict[str, int], charged: str | int) -> None:
        if usage["completion_tokens"] != tokens:
            raise WrongAnswerError(f"{usage['completion_tokens']} tokens instead of {tokens}")
        self.prices.add(int(charged))
        self.charged[customer.account_id] += int(charged)
        self.window.answered += 1


def _has_text(line: bytes) -> bool:
    """Tells whether a line of a stream carries output; the first chunk has only the role."""
    if not line.startswith(b"data: {"):
        return False
    chunk = json.loads(line.removeprefix(b"data: "))
    return any(choice["delta"].get("content") for choice in chunk["choices"])
