"""One run: a mesh, its clients and its faults, and then a look at what is left."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

from services.billing.ledger.operations import Grant
from services.common.database.lanes import Lane
from tests.chaos.ledger_view import _read as read_books
from tests.chaos.record import End, Record
from tests.simulator.checker import Checker
from tests.simulator.client import Client, secret_of
from tests.simulator.faults import Faults
from tests.simulator.hit import Hit
from tests.simulator.machine.database import DatabaseServer, LedgerFile
from tests.simulator.machine.loop import StuckError, new_loop
from tests.simulator.machine.network import Network
from tests.simulator.machine.sockets import Listener
from tests.simulator.mesh import CREDITS_OF, Mesh
from tests.simulator.plan import Plan

# Seconds: until everything has found everything; the least and the most until what was disturbed is in order again; and
# until the holds of edges that died have expired and nobody settles any more.
_WARM_UP, _LEAST_REST, _HEALED, _SWEPT = 0.5, 2.0, 8.0, 25.0
_LOOK = 0.25


@dataclass(slots=True)
class Report:
    """What a run has shown."""

    plan: Plan
    records: list[Record]
    hits: list[Hit]
    violations: list[str] = field(default_factory=list)
    # Of everything that happened: the same for the same seed.
    digest: str = ""

    @property
    def ends(self) -> Counter[End]:
        """How many requests ended in each way."""
        return Counter(record.end for record in self.records)

    def __str__(self) -> str:
        lines = [f"seed {self.plan.seed}: {len(self.violations)} violations", *self.violations]
        return "\n".join([*lines, *(f"  fault {hit}" for hit in self.hits)])


class Run:
    """One run of one plan on one ledger, which is emptied first."""

    def __init__(self, plan: Plan, ledger: LedgerFile, answers: list[str]) -> None:
        self._plan = plan
        self._ledger = ledger
        self._answers = answers
        chance = random.Random(plan.seed)
        self._chance = chance
        self._loop = new_loop()
        self._network = Network(self._loop, chance)
        self._loop.serve = partial(Listener, self._network)
        self._database = DatabaseServer(self._loop, chance, ledger)
        ledger.empty()
        self._mesh = Mesh(self._loop, self._network, ledger, chance)
        self._mesh.accounts = {number: request.account for number, request in enumerate(plan.requests)}
        self._hits: list[Hit] = []
        self._records = [
            Record(number, request, f"account_{request.account}", f"key_{number}", secret_of(number))
            for number, request in enumerate(plan.requests)
        ]

    def report(self) -> Report:
        """Does it."""
        report = Report(self._plan, self._records, self._hits)
        before = random.getstate()
        # For what draws without being given a source, such as the jitter of batch streams.
        random.seed(self._plan.seed)
        try:
            report.violations = self._loop.run(self._run())
        except StuckError as error:
            report.violations = [str(error)]
        finally:
            random.setstate(before)
        report.violations += self._loop.errors
        seen = repr((report.records, report.hits, report.violations, self._loop.now))
        report.digest = hashlib.sha256(seen.encode()).hexdigest()[:16]
        return report

    async def _run(self) -> list[str]:
        await self._mesh.store.commit(
            [Grant(f"grant_{account}", account, amount) for account, amount in CREDITS_OF.items()], 1
        )
        self._mesh.start()
        await asyncio.sleep(_WARM_UP)
        clients = self._loop.process("clients")
        client = Client(self._network, clients, self._ledger.charged)
        client.first_words = {prompt: answer.split()[0] for prompt, answer in enumerate(self._answers)}
        asked = [self._loop.spawn(clients, client.run(record)) for record in self._records]
        faults = Faults(self._loop, self._network, self._database, self._mesh, self._chance, self._hits)
        hurting = [asyncio.create_task(faults.do(fault)) for fault in self._plan.faults]
        await asyncio.gather(*hurting)
        for node in self._mesh.nodes.values():
            node.start()
        await asyncio.gather(*asked)
        return [each async for each in self._rest()]

    @property
    def _at_rest(self) -> bool:
        return self._mesh.at_rest and not self._database.in_progress

    async def _until_rest(self, seconds: float) -> None:
        """Waits until no hold is open and nobody has anything left to say, at most so long."""
        limit = self._loop.now + seconds
        while self._loop.now < limit and (self._ledger.open_holds() or not self._at_rest):  # noqa: ASYNC110 - rest is told by nobody
            await asyncio.sleep(_LOOK)

    async def _rest(self) -> AsyncIterator[str]:
        """Yields what is wrong once nothing disturbs the mesh any more."""
        await asyncio.sleep(_LEAST_REST)
        await self._until_rest(_HEALED - _LEAST_REST)
        # Neither of them has anything to do with what is left, and they would go on for ever.
        for name, node in self._mesh.nodes.items():
            if name.startswith(("router", "runner")):
                node.kill()
        edge_died = any(hit.target == "edge" and hit.kind in {"kill", "drain"} for hit in self._hits)
        if (left := self._ledger.open_holds()) and not edge_died:
            yield f"holds are open although no request is: {left}"
        await self._until_rest(_SWEPT)
        for audit in (await self._mesh.store.audit_new(), await self._mesh.store.audit()):
            for violation in audit.violations:
                yield f"audit: {violation}"
        books = await self._ledger.database.read(read_books, Lane.WHOLE)
        for violation in Checker(books, self._hits, self._answers).check(self._records):
            yield violation
