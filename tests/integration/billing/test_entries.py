"""Statements and exports on both databases: pages fit together while the ledger goes on."""

from __future__ import annotations

import asyncio

import pytest

from services.billing.ledger.entries import Entries, NumberedEntry
from services.billing.ledger.grants import Grants
from services.billing.ledger.holds import Outcome
from services.billing.ledger.ledger import Balance
from services.billing.store.store import LedgerStore
from services.common.errors import Code, MeshError
from tests.integration.billing.billing_client import BillingClient
from tests.integration.billing.operations_for_tests import commit, grant, reserve, settle
from tests.integration.billing.replica import Replica
from tiermesh.billing.v1 import billing_pb2


@pytest.fixture
async def entries(store: LedgerStore) -> Entries:
    await commit(store, grant(100), grant(50, "other", "grant2"), reserve("a"), reserve("b"))
    await commit(store, settle("a"), settle("b", Outcome.FAILED))
    return Entries(store)


async def exported(entries: Entries, account_id: str = "", size: int = 2) -> list[NumberedEntry]:
    found: list[NumberedEntry] = []
    token = "begin"
    while token:
        page, token = await entries.export(account_id, size, "" if token == "begin" else token)
        assert len(page) <= size
        found.extend(page)
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 0])
async def test_a_statement_has_the_balance_after_each_entry(entries: Entries, size: int) -> None:
    lines, token = await entries.statement("acct", size, "")
    while token:
        more, token = await entries.statement("acct", size, token)
        lines += more
    assert [(line.numbered.entry.kind, line.numbered.entry.amount, line.after) for line in reversed(lines)] == [
        ("grant", 100, Balance(100, 0)),
        ("reserve", -10, Balance(90, 0)),
        ("reserve", 10, Balance(90, 10)),
        ("reserve", -10, Balance(80, 10)),
        ("reserve", 10, Balance(80, 20)),
        ("capture", -10, Balance(80, 10)),
        ("release", -10, Balance(80, 0)),
        ("release", 10, Balance(90, 0)),
    ]


async def test_a_statement_s_older_pages_stay_true_while_new_entries_come(entries: Entries, store: LedgerStore) -> None:
    _, token = await entries.statement("acct", 4, "")
    before = await entries.statement("acct", 4, token)
    await commit(store, grant(1, grant_id="grant3"), reserve("c"))
    assert await entries.statement("acct", 4, token) == before


async def test_an_unknown_account_has_an_empty_statement(entries: Entries) -> None:
    assert await entries.statement("nobody", 0, "") == ([], "")


async def test_an_export_ends_where_it_was_when_it_began(entries: Entries, store: LedgerStore) -> None:
    first, token = await entries.export("", 3, "")
    await commit(store, grant(1, grant_id="grant3"))
    rest, end = await entries.export("", 100, token)
    assert end == ""
    assert (len(first), len(rest)) == (3, 9)
    assert len(await exported(entries)) == 14
    assert {each.entry.account_id for each in await exported(entries, "acct")} == {"acct"}
    assert len(await exported(entries, "acct")) == 9


@pytest.mark.parametrize("token", ["1", "1.x.3", "-1.2.3", "1.2.3.4", "9" * 19 + ".0.0", "¹.2.3"])
async def test_a_forged_token_is_refused(entries: Entries, token: str) -> None:
    with pytest.raises(MeshError) as raised:
        await entries.statement("acct", 0, token)
    assert (raised.value.code, raised.value.param) == (Code.INVALID_REQUEST, "page_token")


async def test_pages_are_bounded(entries: Entries) -> None:
    for page in entries.statement("acct", 1_001, ""), entries.export("", 5_001, ""):
        with pytest.raises(MeshError, match="'page_size' must be at most"):
            await page


async def test_an_export_of_a_busy_ledger_has_whole_movements_only(replicas: list[Replica]) -> None:
    await commit(replicas[0].store, *(grant(1000, f"acct{i}", f"grant{i}") for i in range(8)))

    async def spend(number: int) -> None:
        replica = replicas[number % len(replicas)]
        for turn in range(10):
            name = f"r{number}-{turn}"
            await replica.do(reserve(name, f"acct{number}"))
            await replica.do(settle(name))

    busy = asyncio.gather(*(spend(number) for number in range(8)))
    entries = Entries(replicas[-1].store)
    exports = 0
    while not busy.done() or exports == 0:
        found = await exported(entries, size=50)
        sums: dict[tuple[str, str], int] = {}
        for _, entry in found:
            movement = entry.reference, entry.kind
            sums[movement] = sums.get(movement, 0) + entry.amount
        assert set(sums.values()) == {0}
        exports += 1
    await busy
    assert len(await exported(entries, size=500)) == 16 + 8 * 10 * 4


async def test_entries_over_the_wire(client: BillingClient) -> None:
    await client.grant(100, grant_id="g")
    listed = await client.unary.ListEntries(billing_pb2.ListEntriesRequest(account_id="acct"))
    (line,) = listed.entries
    assert (line.entry.reference, line.entry.amount, line.available_after, line.held_after) == ("g", 100, 100, 0)
    page = await client.unary.ExportEntries(billing_pb2.ExportEntriesRequest(page_size=1))
    rest = await client.unary.ExportEntries(
        billing_pb2.ExportEntriesRequest(page_size=1, page_token=page.next_page_token)
    )
    accounts = [entry.account_id for part in (page, rest) for entry in part.entries]
    assert (accounts, rest.next_page_token) == (["system:grants", "acct"], "")


async def test_an_accounts_newest_grants_are_read_without_those_of_others(store: LedgerStore) -> None:
    grants = Grants(store)
    await commit(store, grant(100), grant(50, "other", "grant2"), grant(7, grant_id="grant3"), reserve("a"))
    found, more = await grants.newest("acct", 0)
    assert ({each.credits for each in found}, more) == ({100, 7}, False)
    newest, more = await grants.newest("acct", 1)
    assert (list(newest), more) == (list(found[:1]), True)
    assert await grants.newest("nobody", 0) == ([], False)
    for account, size in (("", 0), ("system:grants", 0), ("acct", 1_001)):
        with pytest.raises(MeshError) as caught:
            await grants.newest(account, size)
        assert caught.value.code is Code.INVALID_REQUEST
