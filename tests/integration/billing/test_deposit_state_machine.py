"""Random ranges of blocks beside grants and requests: the ledger always agrees with the simplest books there are."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.billing.ledger.deposits import CREDIT_ATOMIC, Cursor, Deposit
from services.billing.ledger.operations import Effect
from services.billing.store.deposit_history import DepositStore
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.integration.billing.deposits_for_tests import ACCOUNTS, CURSOR, SECOND, add_addresses, blocks, deposit
from tests.integration.billing.operations_for_tests import PRICE, commit, grant, reserve, settle
from tests.support.postgres import create_database

T = TypeVar("T")

# Accounts with an address, and a stranger.
_receivers = st.sampled_from([*ACCOUNTS, "stranger"])
_atomic = st.one_of(
    st.sampled_from([1, 4_999, 9_999, 10_000, 10_001, 25_000]), st.integers(1, 3_000_000), st.just(10**15)
)
_block = st.lists(st.tuples(_receivers, _atomic), max_size=3)
# Which logs a node of the first watcher has forgotten.
_forgotten = st.sets(st.integers(0, 5), max_size=2)


class DepositMachine(RuleBasedStateMachine):
    """A chain that grows, and two watchers of it; the first one's node sometimes forgets a log."""

    new_url: Callable[[], str]

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.database = Database(type(self).new_url())
        self.store = LedgerStore(self.database)
        self.chains = DepositStore(self.database)
        self.run(add_addresses(self.database))
        # Every log of every block, from block 1 on; what each watcher has been told, and how far it has read.
        self.chain: list[list[Deposit]] = [[]]
        self.recorded: set[Deposit] = set()
        self.next = {CURSOR: 1, SECOND: 1}
        self.spent = dict.fromkeys(ACCOUNTS, 0)
        self.requests = 0

    @rule(block=_block)
    def mine(self, block: list[tuple[str, int]]) -> None:
        number = len(self.chain)
        self.chain.append(
            [
                deposit(number, atomic, who, tx=10 * number + log // 2, log=log)
                for log, (who, atomic) in enumerate(block)
            ]
        )

    @rule(span=st.integers(1, 3), forgotten=_forgotten, again=st.booleans())
    def read_first(self, span: int, forgotten: set[int], again: bool) -> None:
        self._read(CURSOR, span, forgotten, again=again)

    @rule(span=st.integers(1, 3), again=st.booleans())
    def read_second(self, span: int, again: bool) -> None:
        self._read(SECOND, span, set(), again=again)

    @rule(account=st.sampled_from(ACCOUNTS))
    def buy(self, account: str) -> None:
        self.requests += 1
        name = f"r{self.requests}"
        (answer, *_) = self.run(commit(self.store, reserve(name, account)))
        assert isinstance(answer, Effect) == (self._credits(account) - self.spent[account] >= PRICE)
        if isinstance(answer, Effect):
            self.spent[account] += PRICE
            self.run(commit(self.store, settle(name)))

    @rule(account=st.sampled_from(ACCOUNTS), amount=st.integers(1, 50))
    def give(self, account: str, amount: int) -> None:
        self.requests += 1
        self.spent[account] -= amount
        self.run(commit(self.store, grant(amount, account, f"g{self.requests}")))

    @rule(block=st.integers(1, 4))
    def rewrite(self, block: int) -> None:
        """A range of another history is refused."""
        first = self.next[CURSOR]
        asked = blocks(first, first + block, deposit(first, 50_000), history="other")
        if first > 1:
            (answer,) = self.run(commit(self.store, asked))
            assert isinstance(answer, MeshError)
            assert (answer.code, answer.param) == (Code.CONFLICT, "parent_hash")

    @invariant()
    def agrees(self) -> None:
        for account in ACCOUNTS:
            balance = self.run(self.store.balance(account))
            assert balance.available == self._credits(account) - self.spent[account]
        report = self.run(self.store.audit())
        assert report.violations == []
        assert report.granted + report.deposited == report.revenue + report.available + report.held
        assert self.run(self.store.audit_new()) == report

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.database.close())
            self.runner.close()

    def run(self, work: Coroutine[None, None, T]) -> T:
        return self.runner.run(work)

    def _read(self, cursor: Cursor, span: int, forgotten: set[int], *, again: bool) -> None:
        first = self.next[cursor]
        last = min(first + span, len(self.chain)) - 1
        if last < first:
            return
        told = [each for block in self.chain[first : last + 1] for each in block]
        told = [each for number, each in enumerate(told) if number not in forgotten]
        (answer,) = self.run(commit(self.store, blocks(first, last, *told, cursor=cursor)))
        assert isinstance(answer, Effect), answer
        self.recorded |= set(told)
        self.next[cursor] = last + 1
        place = self.run(self.chains.place(cursor))
        assert place is not None
        assert place.next_block == last + 1
        if again:
            (answer,) = self.run(commit(self.store, blocks(first, last, *told, cursor=cursor)))
            assert isinstance(answer, MeshError)

    def _credits(self, account: str) -> int:
        owned = deposit(1, 1, account).address
        return sum(each.atomic for each in self.recorded if each.address == owned) // CREDIT_ATOMIC


def _check(new_url: Callable[[], str], examples: int) -> None:
    machine = type("Machine", (DepositMachine,), {"new_url": staticmethod(new_url)})
    profile = settings(
        max_examples=examples, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=profile)


def test_deposits_agree_with_the_chain_on_sqlite(sqlite_template: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:

        def new_url() -> str:
            path = Path(tempfile.mkdtemp(dir=directory)) / "billing.db"
            shutil.copy(sqlite_template, path)
            return f"sqlite:///{path}"

        _check(new_url, 12)


def test_deposits_agree_with_the_chain_on_postgres(postgres_url: str, postgres_template: str) -> None:
    _check(lambda: create_database(postgres_url, postgres_template), 5)
