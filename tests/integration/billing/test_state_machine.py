"""Random batches of operations, crashes and restarts: the ledger always agrees with the model."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.billing.ledger.operations import Result
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from services.common.errors import MeshError
from tests.integration.billing.ledger_model import LedgerModel
from tests.integration.billing.ledger_steps import ACCOUNTS, Step, steps_of_requests
from tests.integration.billing.operations_for_tests import NOW_MS
from tests.support.postgres import create_database

T = TypeVar("T")


class LedgerMachine(RuleBasedStateMachine):
    """Each batch is one transaction; a lost reply is a batch that is sent again."""

    new_url: Callable[[], str]

    @initialize()
    def start(self) -> None:
        self.model = LedgerModel()
        self.runner = asyncio.Runner()
        self.url = type(self).new_url()
        self.database = Database(self.url)

    @rule(steps=st.lists(steps_of_requests, min_size=1, max_size=6))
    def commit(self, steps: list[Step]) -> None:
        assert self.run(self._commit(steps)) == [model(self.model) for _, model in steps]

    @rule(steps=st.lists(steps_of_requests, min_size=1, max_size=3))
    def commit_but_lose_the_reply_and_restart(self, steps: list[Step]) -> None:
        self.commit(steps)
        self.restart()
        # What the model says to the repeat is what the ledger must say to it as well.
        self.commit(steps)

    @rule(steps=st.lists(steps_of_requests, min_size=1, max_size=3))
    def crash_before_the_commit(self, steps: list[Step]) -> None:
        async def fail() -> None:
            store = LedgerStore(self.database)

            def work(connection: Any) -> None:
                store._apply([operation for operation, _ in steps], NOW_MS, connection, skip_locked=False)
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await self.database.transaction(work)

        self.run(fail())

    @rule()
    def restart(self) -> None:
        self.run(self.database.close())
        self.database = Database(self.url)

    @invariant()
    def agrees(self) -> None:
        store = LedgerStore(self.database)
        for report in self.run(store.audit_new()), self.run(store.audit()):
            assert report.violations == []
        for account in ACCOUNTS:
            balance = self.run(store.balance(account))
            assert (balance.available, balance.held) == (self.model.available.get(account, 0), self.model.held(account))

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.database.close())
            self.runner.close()

    async def _commit(self, steps: list[Step]) -> list[int | str]:
        answers = await LedgerStore(self.database).commit([operation for operation, _ in steps], NOW_MS)
        return [_summary(answer) for answer in answers]

    def run(self, work: Coroutine[None, None, T]) -> T:
        return self.runner.run(work)


def _summary(answer: Result) -> int | str:
    return answer.code.name if isinstance(answer, MeshError) else answer.amount


def _check(new_url: Callable[[], str], examples: int) -> None:
    machine = type("Machine", (LedgerMachine,), {"new_url": staticmethod(new_url)})
    profile = settings(
        max_examples=examples, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=profile)


def test_the_ledger_agrees_with_the_model_on_sqlite(sqlite_template: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:

        def new_url() -> str:
            path = Path(tempfile.mkdtemp(dir=directory)) / "billing.db"
            shutil.copy(sqlite_template, path)
            return f"sqlite:///{path}"

        _check(new_url, 15)


def test_the_ledger_agrees_with_the_model_on_postgres(postgres_url: str, postgres_template: str) -> None:
    _check(lambda: create_database(postgres_url, postgres_template), 8)
