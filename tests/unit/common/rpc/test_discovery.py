from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.common.rpc.discovery import Discovery, first_addresses, system_resolve
from tests.support.waiting import eventually


class NameServer:
    """Answers as the test says."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names
        self.asked = 0

    async def resolve(self, host: str) -> Sequence[str]:
        self.asked += 1
        if host not in self.names:
            raise OSError("unknown")
        return self.names[host]


async def asked_again(server: NameServer) -> None:
    enough = server.asked + 2
    await eventually(lambda: server.asked >= enough)


async def test_changes_are_told_and_nothing_else() -> None:
    server = NameServer(auth=["10.0.0.2", "10.0.0.1"])
    told: list[Sequence[str]] = []
    discovery = Discovery(server.resolve, interval=0.001)
    discovery.follow(["dns:auth:7101", "fixed:7101"], told.append)
    running = asyncio.create_task(discovery.run())
    await eventually(lambda: len(told) == 1)
    # Another order is no change.
    server.names["auth"] = ["10.0.0.1", "10.0.0.2"]
    await asked_again(server)
    server.names["auth"] = ["10.0.0.3", "fd00::1"]
    await eventually(lambda: len(told) == 2)
    # A name server that knows nothing or fails changes nothing.
    server.names["auth"] = []
    await asked_again(server)
    del server.names["auth"]
    await asked_again(server)
    server.names["auth"] = ["10.0.0.4"]
    await eventually(lambda: len(told) == 3)
    running.cancel()
    assert told == [
        ["10.0.0.1:7101", "10.0.0.2:7101", "fixed:7101"],
        ["10.0.0.3:7101", "[fd00::1]:7101", "fixed:7101"],
        ["10.0.0.4:7101", "fixed:7101"],
    ]


async def test_a_name_that_is_not_found_is_left_to_the_connection() -> None:
    told: list[Sequence[str]] = []
    discovery = Discovery(NameServer(other=["10.0.0.1"]).resolve, interval=0.001)
    discovery.follow(["dns:auth:7101"], told.append)
    discovery.follow(["dns:other:1"], told.append)
    running = asyncio.create_task(discovery.run())
    await eventually(lambda: len(told) == 2)
    running.cancel()
    assert told == [["auth:7101"], ["10.0.0.1:1"]]


async def test_what_cannot_be_a_name_ends_nothing() -> None:
    told: list[Sequence[str]] = []
    discovery = Discovery(system_resolve, interval=0.001)
    discovery.follow([f"dns:{'a' * 64}:7101"], told.append)
    discovery.follow(["dns:localhost:1"], told.append)
    running = asyncio.create_task(discovery.run())
    await eventually(lambda: len(told) == 2)
    running.cancel()
    assert told[0] == ["a" * 64 + ":7101"]


async def test_fixed_addresses_are_not_followed() -> None:
    told: list[Sequence[str]] = []
    discovery = Discovery(NameServer().resolve, interval=0.001)
    discovery.follow(["one:1", "two:2"], told.append)
    running = asyncio.create_task(discovery.run())
    await asyncio.sleep(0)
    running.cancel()
    assert told == []
    assert first_addresses(["dns:one:1", "two:2"]) == ["one:1", "two:2"]


async def test_the_systems_resolver_is_asked() -> None:
    assert "127.0.0.1" in await system_resolve("localhost") or "::1" in await system_resolve("localhost")
