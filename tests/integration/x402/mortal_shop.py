"""A shop whose edge, payments and billing may die at any point. They start again in a fraction of the usual time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.billing.store.store import MIGRATIONS
from services.common.database.base import Database
from services.common.database.migrations import migrate
from services.payments.chain.transactions import GasKey
from tests.integration.x402.mortal.failpoints import VARIABLE
from tests.integration.x402.shop import CREDIT, Shop
from tests.support.commands import run_forked
from tests.support.forked_service import ForkedServiceProcess
from tests.support.waiting import eventually

_PACKAGE = "tests.integration.x402.mortal"
# Long enough for an answer, and no test waits for it long.
_HOLDS = {"hold_ttl_seconds": "2", "sweep_seconds": "0.2"}


class MortalProcess(ForkedServiceProcess):
    """One of the processes, which knows where its failpoint is."""

    def __init__(self, name: str, directory: Path, settings: Mapping[str, str], failpoint: Path) -> None:
        super().__init__(name, directory, settings, module=f"{_PACKAGE}.{name}")
        self._failpoint = failpoint

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), VARIABLE: str(self._failpoint)}


class MortalShop(Shop):
    """On the chain and in the mesh of a host, but with a ledger, a treasury and a relayer of its own."""

    treasury_key = "0x" + "6b" * 32
    treasury = GasKey(treasury_key).address
    relayer_key = "0x" + "5b" * 32

    def __init__(self, host: Shop, directory: Path) -> None:
        super().__init__(directory, host)
        self._host = host
        # The processes, by service.
        self.parts: dict[str, MortalProcess] = {}
        # The point at which one of them dies, while the file exists.
        self.failpoint = directory / "failpoint"

    async def start(self) -> None:
        """Returns once a wallet can pay."""
        self.token = self._host.token
        self.chain.rpc("anvil_setBalance", GasKey(self.relayer_key).address, hex(10**19))
        url = f"sqlite:///{self._directory / 'billing.db'}"
        database = Database(url)
        await migrate(database, MIGRATIONS)
        await database.close()
        await self._add("billing", {"database_url": url, **_HOLDS})
        await self._add("payments", self.payments_settings())
        edge = {
            "auth_addresses": self.mesh.addresses["auth"],
            "router_addresses": self.mesh.addresses["router"],
            "billing_addresses": self.billing_address,
            "payments_addresses": self.payments_settings()["listen"],
            "unpaid_per_minute": "100000",
        }
        await self._add("edge", edge)
        await eventually(self.asks_for_payment)

    async def stop(self) -> None:
        """Ends what is its own."""
        for part in self.parts.values():
            await part.kill()
            print(part.log()[-2000:])  # noqa: T201 - pytest shows it for tests that failed

    @property
    def base_url(self) -> str:
        """For OpenAI's clients, with /v1."""
        return f"http://{self.parts['edge'].address}/v1"

    @property
    def billing_address(self) -> str:
        """Where billing listens."""
        return self.parts["billing"].address

    async def first_word(self) -> str:
        """Returns the first word of every answer; with it as a stop string, answers are empty."""
        return await self._host.first_word()

    def audit(self) -> Any:
        """Audits the whole ledger, and returns what the command says of it."""
        return self.command("ledger", "audit")

    def command(self, *arguments: str, status: int = 0) -> Any:
        """Runs a management command on its billing and its chain, and returns what its JSON says."""
        state = ("--state-dir", str(self._directory / "state"))
        done = run_forked(*arguments, "--billing-address", self.billing_address, *state, "--json")
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout)

    async def deposited(self) -> int:
        """Returns what wallets have paid and were not paid back, as the ledger knows it, in smallest units."""
        return int(self.audit()["deposited"]) * CREDIT

    async def _add(self, name: str, settings: dict[str, str]) -> None:
        part = self.parts[name] = MortalProcess(name, self._directory, settings, self.failpoint)
        await part.start()
