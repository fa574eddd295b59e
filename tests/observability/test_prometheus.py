"""A real Prometheus reads a real mesh: panels show data, and faults raise their alerts."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.observability.definitions import expressions, panels
from tests.observability.load import Client, round_of_requests
from tests.observability.observed import PATIENCE, Observed
from tests.support.account import FundedAccount
from tests.support.waiting import eventually

RATE_INTERVAL = "10s"
# What local machines lack; their expressions are parsed, and their metrics named, in the other modules.
ELSEWHERE = {"an engine on GPUs", "mutual TLS"}


def empty(observed: Observed, wanted: list[Any]) -> list[str]:
    """Returns the titles of the panels of which an expression has no data."""
    return [
        panel.title
        for panel in wanted
        if not all(observed.prometheus.query(expression) for expression in expressions(panel, RATE_INTERVAL))
    ]


async def test_every_panel_shows_data_after_a_short_load_and_no_alert_fires(observed: Observed) -> None:
    wanted = [panel for _, panel in panels() if not panel.only_with and not panel.empty_until]
    assert len(wanted) > 40

    async def shown() -> bool:
        await round_of_requests(observed.mesh, observed.mesh.unlimited_key)
        return not empty(observed, wanted)

    try:
        await eventually(shown, PATIENCE)
    except AssertionError:
        pytest.fail(f"without data: {empty(observed, wanted)}")
    assert observed.prometheus.firing() == set()


async def test_panels_about_faults_show_data_once_there_is_one(observed: Observed) -> None:
    wanted = [panel for _, panel in panels() if panel.empty_until]
    poor = FundedAccount(observed.mesh)
    key = poor.new_key()["api_key"]
    await observed.runner.kill()

    async def shown() -> bool:
        assert await observed.client.ask("tiermesh-max") == 503
        return not empty(observed, wanted)

    # One more than the account can pay.
    await asyncio.gather(*(Client(observed.mesh, key).ask(max_tokens=1) for _ in range(101)))
    await eventually(shown, PATIENCE)
    await observed.runner.start()
    assert {panel.only_with for _, panel in panels()} == {"", *ELSEWHERE}


async def test_killing_the_only_runner_of_a_tier_raises_an_alert_for_that_tier(observed: Observed) -> None:
    alert = ("TiermeshTierUnavailable", "max")
    await eventually(lambda: alert not in observed.prometheus.firing(), PATIENCE)
    await observed.runner.kill()
    await eventually(lambda: alert in observed.prometheus.firing(), PATIENCE)
    assert ("TiermeshTierUnavailable", "pro") not in observed.prometheus.firing()
    await observed.runner.start()
    await eventually(lambda: alert not in observed.prometheus.firing(), PATIENCE)


async def test_a_hold_that_nobody_sweeps_raises_an_alert(observed: Observed) -> None:
    alert = ("TiermeshHoldBacklog", "")
    assert alert not in observed.prometheus.firing()
    async with observed.client.opened():
        # Its hold is nobody's any more, and the sweeper of this mesh never comes.
        old = observed.mesh.kill("edge")
        await eventually(lambda: alert in observed.prometheus.firing(), PATIENCE)
    await observed.mesh.until_restarted("edge", old)
    await observed.mesh.until_serving()


async def test_a_broken_ledger_raises_an_alert(observed: Observed) -> None:
    alert = ("TiermeshLedgerImbalance", "")
    copy = observed.mesh.state_dir / "copy.db"
    with (
        closing(sqlite3.connect(observed.mesh.state_dir / "billing.db")) as ledger,
        closing(sqlite3.connect(copy)) as to,
    ):
        ledger.backup(to)
        await eventually(lambda: alert not in observed.prometheus.firing(), PATIENCE)
        # The database itself refuses to change an entry.
        for (trigger,) in to.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            to.execute(f"DROP TRIGGER {trigger}")
        to.execute("UPDATE entries SET amount = amount + 5 WHERE entry_id = (SELECT max(entry_id) FROM entries)")
        to.commit()
    # The mesh has proven this entry already, so that an audit of the whole ledger has to find it.
    settings = {"database_url": f"sqlite:///{copy}", "audit_seconds": "1", "full_audit_seconds": "1"}
    billing = observed.process("billing", settings)
    async with billing:
        observed.scrape("tiermesh-billing", "billing-copy", billing)
        await eventually(lambda: alert in observed.prometheus.firing(), PATIENCE)
        assert "tiermesh_billing_ledger_imbalance_credits 5.0" in await billing.metrics()
        assert "ledger_broken" in billing.log()
