"""Runs one plan against a mesh: requests and faults side by side, then rest, then the reckoning."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tests.chaos.checker import Checker, Undisturbed, Violation, resumed_upstream
from tests.chaos.client import Client, patient_session, slow_session
from tests.chaos.deposits import WATCHERS, ChainBeside
from tests.chaos.faults.fault import UPSTREAMS
from tests.chaos.ledger_view import LedgerView
from tests.chaos.plan import CREDITS, MOST_TOKENS, PROMPTS, DepositPlan, Plan, RequestPlan
from tests.chaos.record import End, Record
from tests.chaos.world import World
from tests.integration.auth.auth_client import AuthClient
from tests.integration.billing.billing_client import BillingClient
from tests.support.mesh import run_tiermesh
from tests.support.waiting import eventually

# Keys that are made at the same time.
_KEYS_AT_ONCE = 16
# How long everything may take to come to rest, beyond the life of a hold.
_REST_SECONDS = 20.0
_CANNOT_PAY = 402
# What the engine says to each prompt while nothing is wrong, once a mesh was asked: it is the same in all of them.
_undisturbed: list[Undisturbed] = []
# The first ones tell what it was; a mistake in the ledger breaks every later request as well.
_SHOWN_VIOLATIONS = 20


@dataclass(frozen=True, slots=True)
class Report:
    """What a run was and what it found."""

    plan: Plan
    seconds: float
    ends: Mapping[End, int]
    # Of the answers whose clients wait for their end and can pay, the share that is completed.
    completed: float
    # Generations that went on at another runner after their first token.
    resumed: int
    # Requests to servers with OpenAI's API: all of them, those that were completed, and moves before the first text.
    upstream: tuple[int, int, int]
    violations: list[Violation]

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        line = (
            f"seed {self.plan.seed}: {len(self.plan.requests)} requests, {len(self.plan.faults)} faults, "
            f"{self.completed:.0%} completed, {self.resumed} resumed, {len(self.violations)} violations, "
            f"{self.seconds:.0f} s, slowed by {self.plan.slowness:.1f} ({ends})"
        )
        shown = self.violations[:_SHOWN_VIOLATIONS]
        if self.plan.upstream:
            line += ", {} to servers, {} of them completed, {} moves".format(*self.upstream)
        return "\n".join([line, *(f"seed {self.plan.seed}: {violation}" for violation in shown)])


async def run_plan(plan: Plan, *, database_server: bool = False, modules: Mapping[str, str] | None = None) -> Report:
    """Starts a mesh for one plan, runs it at the pace that the machine can bear, and checks it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tiermesh-chaos-") as directory:
        world = World(
            Path(directory),
            database_server=database_server,
            hold_seconds=plan.hold_seconds,
            upstream=plan.upstream,
            modules=modules,
            chain=bool(plan.deposits),
        )
        async with world:
            plan = plan.slowed(world.slowness)
            ledger = LedgerView(world.ledger_url)
            try:
                records, violations = await Driver(world, ledger, plan).run()
            finally:
                await ledger.close()
            moves = [json.loads(line) for line in world.edge.log().splitlines() if '"generation_moves"' in line]
    ends = Counter(record.end for record in records)
    resumed = sum(move["tokens"] > 0 for move in moves)
    violations += resumed_upstream(moves)
    asked = [record for record in records if record.plan.upstream]
    moved = [move for move in moves if move["runner"] in UPSTREAMS.values()]
    upstream = len(asked), sum(record.end is End.COMPLETE for record in asked), len(moved)
    wanted = [record for record in records if record.end is not End.LEFT and record.status != _CANNOT_PAY]
    completed = sum(record.end is End.COMPLETE for record in wanted) / max(1, len(wanted))
    if not plan.floor.is_reached(completed, resumed):
        found = f"{completed:.0%} of the answers were completed and {resumed} resumed, less than {plan.floor}"
        violations.append(Violation("proves nothing", found))
    return Report(plan, time.monotonic() - began, ends, completed, resumed, upstream, violations)


class Driver:
    """One run against a mesh that has just started."""

    def __init__(self, world: World, ledger: LedgerView, plan: Plan) -> None:
        self._world = world
        self._ledger = ledger
        self._plan = plan
        self._accounts: list[str] = []

    async def run(self) -> tuple[list[Record], list[Violation]]:
        """Returns every record and everything that is wrong with them."""
        async with patient_session() as session, slow_session() as slow:
            client = Client(session, slow, self._world.base_url, self._ledger, self._plan.slowness)
            calm = await self._records(() if _undisturbed else _calm_requests())
            records = await self._records(self._plan.requests)
            undisturbed = await _listen(client, calm)
            faults = [asyncio.create_task(self._hurt(index)) for index in range(len(self._plan.faults))]
            deposits = [asyncio.create_task(self._deposit(deposit)) for deposit in self._plan.deposits]
            await asyncio.gather(*(self._ask(client, record) for record in records))
            await asyncio.gather(*faults, *deposits)
        violations = await self._rest()
        checker = Checker(await self._ledger.books(), self._world.hits, undisturbed, self._plan.slowness)
        return records, violations + checker.check([*calm, *records])

    async def _ask(self, client: Client, record: Record) -> None:
        await asyncio.sleep(record.plan.at)
        await client.run(record)

    async def _hurt(self, index: int) -> None:
        fault = self._plan.faults[index]
        await asyncio.sleep(fault.at)
        await self._world.hurt(fault)

    async def _deposit(self, deposit: DepositPlan) -> None:
        assert self._world.chain is not None
        await asyncio.sleep(deposit.at)
        await self._world.chain.deposit(self._accounts[deposit.account], deposit.atomic, deposit.times)

    async def _compare_deposits(self, chain: ChainBeside) -> list[Violation]:
        """Waits until the watchers have read everything, and compares the ledger with the chain."""
        last = await chain.finalize()
        try:
            await eventually(
                lambda: self._ledger.watchers_have_read(last, WATCHERS), _REST_SECONDS * self._plan.slowness
            )
        except AssertionError:
            return [Violation("deposits", f"the watchers have not read block {last}, the last one with deposits")]
        rows = await self._ledger.deposits()
        return [Violation("deposits", found, None, rows) for found in await chain.differences(rows)]

    async def _records(self, plans: tuple[RequestPlan, ...]) -> list[Record]:
        """Makes accounts with credits, and a key for each request."""
        services = self._world.services
        addresses = services["auth-1"].address, services["billing-1"].address
        async with AuthClient(addresses[0]) as auth, BillingClient(addresses[1]) as billing:
            accounts = self._accounts = [(await auth.create_account()).id for _ in CREDITS]
            for account, amount in zip(accounts, CREDITS, strict=True):
                await billing.grant(amount, account)
            gate = asyncio.Semaphore(_KEYS_AT_ONCE)

            async def record(number: int, plan: RequestPlan) -> Record:
                async with gate:
                    made = await auth.create_key(accounts[plan.account], requests_per_minute=0)
                return Record(number, plan, accounts[plan.account], made.key.id, made.api_key)

            records = list(await asyncio.gather(*(record(number, plan) for number, plan in enumerate(plans))))
        await self._publish(records[-_KEYS_AT_ONCE:])
        if self._world.chain is not None:
            await self._world.chain.give_addresses(services["payments-1"].address, accounts)
        return records

    async def _publish(self, newest: list[Record]) -> None:
        """Waits until every replica of auth knows the newest keys."""
        replicas = [process for process in self._world.services.values() if process.name == "auth"]
        for replica in replicas:
            async with AuthClient(replica.address) as auth:

                async def knows_all(auth: AuthClient = auth) -> bool:
                    replies = await asyncio.gather(*(auth.authenticate(record.api_key) for record in newest))
                    return not any(reply.HasField("error") for reply in replies)

                await eventually(knows_all)

    async def _rest(self) -> list[Violation]:
        """Waits until nothing moves any more: every hold has ended, and the edge has nothing left to tell billing."""
        violations = []
        rest_seconds = (self._plan.hold_seconds + _REST_SECONDS) * self._plan.slowness
        try:
            await eventually(self._ledger.none_open, rest_seconds)
        except AssertionError:
            violations.append(Violation("open hold", f"some are open {rest_seconds:.0f} s after the last request"))
        if self._world.chain is not None:
            violations += await self._compare_deposits(self._world.chain)
        ended = [name for name, process in self._world.services.items() if not process.running]
        violations += [Violation("exit", f"{name} ended by itself") for name in ended]
        if await self._world.edge.stop() != 0:
            violations.append(Violation("exit", "the edge did not drain"))
        violations += [Violation("exit", bad_end) for bad_end in self._world.bad_ends]
        address = self._world.services["billing-1"].address
        audit = await run_tiermesh("ledger", "audit", "--billing-address", address, "--json")
        if audit.returncode != 0 or json.loads(audit.stdout)["violations"]:
            violations.append(Violation("audit", f"{audit.stdout.strip()} {audit.stderr.strip()}"))
        return violations


def _calm_requests() -> tuple[RequestPlan, ...]:
    longest = RequestPlan(at=0, account=0, prompt=0, stream=False, max_tokens=MOST_TOKENS)
    natural = replace(longest, max_tokens=None)
    return tuple(replace(kind, prompt=prompt) for prompt in range(len(PROMPTS)) for kind in (longest, natural))


async def _listen(client: Client, calm: list[Record]) -> list[Undisturbed]:
    """Learns what the engine says while nothing is wrong, unless that is known."""
    await asyncio.gather(*(client.run(record) for record in calm))
    assert all(record.end is End.COMPLETE for record in calm), calm
    _undisturbed.extend(
        Undisturbed(tuple(longest.text.split()), natural.words)
        for longest, natural in zip(calm[::2], calm[1::2], strict=True)
    )
    client.stops = {prompt: answer.words[0] for prompt, answer in enumerate(_undisturbed)}
    return _undisturbed
