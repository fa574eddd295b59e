"""Every process of a mesh is replaced while fifty clients stream: no request fails, no stream breaks, all is paid."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.common.receipts.finding import covered
from tests.integration.auth.auth_client import AuthClient
from tests.integration.billing.billing_client import PRICE, PRO, BillingClient
from tests.support.fleet import Fleet, Replicas
from tests.support.keep_alive import KeepAliveClient
from tests.support.raw_http import RawResponse, request
from tests.support.waiting import eventually

CLIENTS = 50
CREDITS = 1_000_000
# An answer takes a second and a half. There are fewer slots than clients, so that some always wait in line.
TOKENS, SPEED, SLOTS = 30, 20, 20
SETTINGS = {
    "edge": {"drain_seconds": "15"},
    "runner": {"engine": "simulated", "slots": str(SLOTS), "simulated_speed": str(SPEED)},
}
# Every tenth answer is not streamed.
WHOLE_EVERY = 10
SERVICES = ("auth", "billing", "router", "runner", "edge")


@dataclass
class Tally:
    """What the clients have seen."""

    request_ids: list[str] = field(default_factory=list)
    texts: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)


class Customers:
    """Clients of one account that send one request after the other until `stop`."""

    def __init__(self, fleet: Fleet, api_key: str) -> None:
        self._clients = [KeepAliveClient(fleet.services["edge"].balanced) for _ in range(CLIENTS)]
        self._api_key = api_key
        self._stopping = False
        self.tally = Tally()

    @property
    def announced(self) -> int:
        """How many connections were ended by `Connection: close`."""
        return sum(client.announced for client in self._clients)

    async def run(self) -> None:
        """Runs all of them."""
        await asyncio.gather(*(self._run(client, number) for number, client in enumerate(self._clients)))

    def stop(self) -> None:
        """Lets every client finish its request and send no other one."""
        self._stopping = True

    async def _run(self, client: KeepAliveClient, first: int) -> None:
        for number in itertools.count(first):
            if self._stopping:
                break
            stream = number % WHOLE_EVERY != 0
            try:
                response = await client.send(self._request(stream=stream))
                self.tally.texts.add(_answer(response, stream=stream))
                self.tally.request_ids.append(response.headers["x-request-id"])
            except (OSError, EOFError, AssertionError) as error:
                self.tally.failures.append(f"{type(error).__name__}: {error}")
                client.close()
        client.close()

    def _request(self, *, stream: bool) -> bytes:
        messages = [{"role": "user", "content": "Tell me something."}]
        body = {"model": PRO, "messages": messages, "max_tokens": TOKENS, "stream": stream}
        head = {"Authorization": f"Bearer {self._api_key}", "Content_Type": "application/json"}
        return request("POST", "/v1/chat/completions", json.dumps(body).encode(), **head)


def _answer(response: RawResponse, *, stream: bool) -> str:
    """Returns the text of a complete answer; raises AssertionError for any other response."""
    assert response.status == 200, f"{response.status} {response.body.decode()}"
    if not stream:
        return str(response.json()["choices"][0]["message"]["content"])
    events = covered(response.body).decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""], f"the stream ended with {events[-3:]}"
    bodies = [json.loads(event.removeprefix("data: ")) for event in events[:-2] if event.startswith("data: ")]
    assert all("error" not in body for body in bodies), bodies[-1]
    choices = [choice for body in bodies for choice in body["choices"]]
    assert choices[-1]["finish_reason"] == "length"
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@dataclass
class Scene:
    """A fleet with its customers at work."""

    fleet: Fleet
    customers: Customers

    async def more_answers(self) -> None:
        """Waits until the mesh has answered a request of most clients once more."""
        enough = len(self.customers.tally.request_ids) + CLIENTS // 2
        await eventually(lambda: len(self.customers.tally.request_ids) >= enough or self.failed, 20.0)

    @property
    def failed(self) -> bool:
        return bool(self.customers.tally.failures)


@asynccontextmanager
async def under_load(directory: Path, postgres_url: str) -> AsyncIterator[Scene]:
    """Runs the customers while something is done to the fleet, then looks at what they saw and at the ledger."""
    async with Fleet(directory, postgres_url, SETTINGS) as fleet:
        auth, billing = (fleet.services[name] for name in ("auth", "billing"))
        async with AuthClient(auth.live[0].address) as keys:
            account = (await keys.create_account()).id
            api_key = (await keys.create_key(account, requests_per_minute=0)).api_key
        async with AuthClient(auth.live[1].address) as other:
            await eventually(lambda: _knows(other, api_key))
        async with BillingClient(billing.live[0].address) as ledger:
            await ledger.grant(CREDITS, account)
        customers = Customers(fleet, api_key)
        running = asyncio.create_task(customers.run())
        scene = Scene(fleet, customers)
        try:
            await scene.more_answers()
            yield scene
            await scene.more_answers()
        finally:
            customers.stop()
            await running
        tally = customers.tally
        assert tally.failures == []
        assert len(tally.texts) == 1, "an answer was not like the others"
        print(f"{len(tally.request_ids)} answers, {customers.announced} connections closed by announcement")  # noqa: T201 - the figure, shown by pytest -s
        async with BillingClient(billing.live[0].address) as ledger:
            assert await ledger.balance(account) == (CREDITS - PRICE * len(tally.request_ids), 0)
            assert len(set(tally.request_ids)) == len(tally.request_ids)
            assert list((await ledger.audit()).violations) == []


async def _knows(client: AuthClient, api_key: str) -> bool:
    return not (await client.authenticate(api_key)).HasField("error")


async def _replace_all(scene: Scene, replace: Callable[[Replicas], Awaitable[None]]) -> None:
    for name in SERVICES:
        for _ in range(2):
            await replace(scene.fleet.services[name])
            await scene.more_answers()


async def test_deployments_are_replaced(tmp_path: Path, postgres_url: str) -> None:
    async with under_load(tmp_path, postgres_url) as scene:
        await _replace_all(scene, Replicas.replace)
        assert scene.customers.announced > 0


async def test_stateful_sets_are_replaced(tmp_path: Path, postgres_url: str) -> None:
    async with under_load(tmp_path, postgres_url) as scene:
        await _replace_all(scene, Replicas.replace_in_place)


async def test_etcd_is_restarted(tmp_path: Path, postgres_url: str) -> None:
    async with under_load(tmp_path, postgres_url) as scene:
        await scene.fleet.etcd.restart()
        await scene.more_answers()
        # A router that starts now knows the runners from etcd's data.
        await scene.fleet.services["router"].replace()
