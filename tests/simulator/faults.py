"""Does what the faults of a plan say, and undoes it when they are over."""

from __future__ import annotations

import asyncio
import random

from tests.simulator.hit import Hit
from tests.simulator.machine.database import DatabaseServer
from tests.simulator.machine.loop import VirtualLoop
from tests.simulator.machine.network import Network
from tests.simulator.mesh import Mesh
from tests.simulator.plan import Fault

_LOOK = 0.1
# Seconds by which messages and transactions are late at most, whatever a fault says.
_SLOWEST_MESSAGE, _SLOWEST_TRANSACTION = 1.5, 6.0


class Faults:
    """All faults of one run; `hits` gets each as it happens."""

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        database: DatabaseServer,
        mesh: Mesh,
        chance: random.Random,
        hits: list[Hit],
    ) -> None:
        self._loop = loop
        self._network = network
        self._database = database
        self._mesh = mesh
        self._chance = chance
        self._hits = hits
        self._kinds = {
            "kill": self._kill,
            "drain": self._drain,
            "stop": self._stop,
            "hold": self._hold,
            "slow": self._slow,
            "cut": self._cut,
            "database away": self._database_away,
            "database crash": self._database_crash,
            "database slow": self._database_slow,
            "clock": self._clock,
        }

    async def do(self, fault: Fault) -> None:
        """Waits for its moment, and returns when it is over."""
        await asyncio.sleep(fault.at)
        hit = Hit(fault.kind, fault.target, fault.other, self._loop.now)
        self._hits.append(hit)
        await self._kinds[fault.kind](fault)
        hit.ended = self._loop.now

    async def _kill(self, fault: Fault) -> None:
        node = self._mesh.nodes[fault.target]
        node.kill()
        await asyncio.sleep(fault.seconds)
        node.start()

    async def _drain(self, fault: Fault) -> None:
        node = self._mesh.nodes[fault.target]
        # Another fault may kill it meanwhile, and then there is a new one.
        process = node.process
        node.terminate()
        while not process.dead:  # noqa: ASYNC110 - nobody else waits for the end of a process
            await asyncio.sleep(_LOOK)
        await asyncio.sleep(fault.seconds)
        node.start()

    async def _stop(self, fault: Fault) -> None:
        process = self._mesh.nodes[fault.target].process
        self._loop.stop_process(process)
        await asyncio.sleep(fault.seconds)
        self._loop.continue_process(process, timers_first=self._chance.random() < 0.5)

    async def _hold(self, fault: Fault) -> None:
        self._network.hold(fault.target, fault.other, fault.seconds)
        await asyncio.sleep(fault.seconds)

    async def _slow(self, fault: Fault) -> None:
        self._network.slow[fault.target, fault.other] = min(fault.seconds / 4, _SLOWEST_MESSAGE)
        await asyncio.sleep(fault.seconds)
        self._network.slow.pop((fault.target, fault.other), None)

    async def _cut(self, fault: Fault) -> None:
        self._network.cut(fault.target, fault.other)

    async def _database_away(self, fault: Fault) -> None:
        self._database.away_until = self._loop.now + fault.seconds
        await asyncio.sleep(fault.seconds)

    async def _database_crash(self, fault: Fault) -> None:
        self._database.crash(fault.seconds)
        await asyncio.sleep(fault.seconds)

    async def _database_slow(self, fault: Fault) -> None:
        self._database.slow[fault.target] = min(fault.seconds, _SLOWEST_TRANSACTION)
        await asyncio.sleep(fault.seconds)
        self._database.slow.pop(fault.target, None)

    async def _clock(self, fault: Fault) -> None:
        """Puts the time of day forward or back, for good."""
        self._mesh.clock_ahead += fault.seconds * (1 if self._chance.random() < 0.5 else -1)
