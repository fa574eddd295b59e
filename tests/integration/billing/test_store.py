"""Reserve, Settle, Expire and Grant as rows on both databases."""

from __future__ import annotations

from itertools import product

import pytest

from services.billing.ledger.holds import CHARGED, Outcome
from services.billing.ledger.ledger import Balance, OpenHolds
from services.billing.ledger.operations import Effect, Operation
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.integration.billing.operations_for_tests import (
    NOW_MS,
    PRICE,
    assert_sound,
    code,
    commit,
    expire,
    grant,
    one,
    reserve,
    rows,
    settle,
)

# What an edge can end a hold with.
_ENDS = [end for end in Outcome if end not in {Outcome.NONE, Outcome.EXPIRED}]


async def test_a_completed_request_costs_its_price(store: LedgerStore, database: Database) -> None:
    assert await one(store, grant(100)) == Effect(100, 100, 0)
    assert await one(store, reserve("r")) == Effect(PRICE, 90, PRICE)
    assert await one(store, settle("r")) == Effect(PRICE, 90, 0)
    assert await store.balance("acct") == Balance(90, 0)
    entries = await rows(database, "SELECT reference, kind, account_id, pocket, amount FROM entries ORDER BY entry_id")
    assert entries == [
        ("grant", "grant", "system:grants", "available", -100),
        ("grant", "grant", "acct", "available", 100),
        ("r", "reserve", "acct", "available", -10),
        ("r", "reserve", "acct", "held", 10),
        ("r", "capture", "acct", "held", -10),
        ("r", "capture", "system:revenue", "available", 10),
    ]
    await assert_sound(store)


async def test_usage_is_kept_with_the_hold(store: LedgerStore, database: Database) -> None:
    await commit(store, grant(100), reserve("r"))
    await commit(store, settle("r", Outcome.CLIENT_LEFT_LATE))
    assert await rows(database, "SELECT * FROM holds") == [
        (
            "r",
            "acct",
            "key",
            "pro",
            1,
            PRICE,
            PRICE,
            NOW_MS,
            "captured",
            "client_left_late",
            7,
            9,
            "runner",
            NOW_MS,
            None,
            None,
            None,
        )
    ]


@pytest.mark.parametrize(
    ("outcome", "charged"),
    [
        (Outcome.COMPLETED, PRICE),
        (Outcome.CLIENT_LEFT_LATE, PRICE),
        (Outcome.EMPTY, 0),
        (Outcome.CLIENT_LEFT_EARLY, 0),
        (Outcome.FAILED, 0),
    ],
)
async def test_each_outcome_costs_what_the_table_says(store: LedgerStore, outcome: Outcome, charged: int) -> None:
    await commit(store, grant(100), reserve("r"))
    assert await one(store, settle("r", outcome)) == Effect(charged, 100 - charged, 0)
    # The first settle decides; a repeat reports what it decided, whatever it says itself.
    for repeat in outcome, Outcome.COMPLETED, Outcome.EMPTY, Outcome.CLIENT_LEFT_LATE:
        assert await one(store, settle("r", repeat)) == Effect(charged, 100 - charged, 0)
    await assert_sound(store)


async def test_a_completed_request_that_failed_after_all_is_refunded(store: LedgerStore, database: Database) -> None:
    await commit(store, grant(100), reserve("r"), settle("r"))
    for repeat in Outcome.FAILED, Outcome.FAILED, Outcome.COMPLETED:
        assert await one(store, settle("r", repeat)) == Effect(0, 100, 0)
    assert await rows(database, "SELECT state, outcome FROM holds") == [("released", "failed")]
    await assert_sound(store)


async def test_what_a_client_left_late_stays_charged(store: LedgerStore) -> None:
    await commit(store, grant(100), reserve("r"), settle("r", Outcome.CLIENT_LEFT_LATE))
    assert await one(store, settle("r", Outcome.FAILED)) == Effect(PRICE, 90, 0)
    await assert_sound(store)


async def test_even_a_late_capture_can_be_refunded(store: LedgerStore) -> None:
    await commit(store, grant(100), reserve("r"), expire("r"))
    assert await one(store, settle("r")) == Effect(PRICE, 90, 0)
    assert await one(store, settle("r", Outcome.FAILED)) == Effect(0, 100, 0)
    await assert_sound(store)


async def test_a_repeated_reserve_holds_once(store: LedgerStore) -> None:
    await one(store, grant(100))
    assert await one(store, reserve("r")) == await one(store, reserve("r")) == Effect(PRICE, 90, PRICE)
    # A changed price is not the repeat's: the hold keeps the first.
    assert await one(store, reserve("r", price=99)) == Effect(PRICE, 90, PRICE)


async def test_a_request_id_belongs_to_one_request(store: LedgerStore) -> None:
    await commit(store, grant(100), grant(100, "other", "grant-2"), reserve("r"))
    answers = await commit(store, reserve("r", "other"), reserve("r", model="max"))
    assert [code(answer) for answer in answers] == [Code.CONFLICT, Code.CONFLICT]
    await one(store, settle("r"))
    (answer,) = await commit(store, reserve("r"))
    assert code(answer) is Code.CONFLICT


async def test_refusals_do_not_touch_their_neighbours(store: LedgerStore) -> None:
    answers = await commit(
        store,
        grant(25),
        reserve("a"),
        settle("nothing"),
        reserve("b"),
        reserve("too-much"),
        settle("a"),
        reserve("poor", "nobody"),
        settle("b", Outcome.FAILED),
    )
    assert [answer if isinstance(answer, Effect) else answer.code for answer in answers] == [
        Effect(25, 25, 0),
        Effect(10, 15, 10),
        Code.NOT_FOUND,
        Effect(10, 5, 20),
        Code.INSUFFICIENT_CREDITS,
        Effect(10, 5, 10),
        Code.INSUFFICIENT_CREDITS,
        Effect(0, 15, 0),
    ]
    assert await store.balance("nobody") == Balance(0, 0)
    await assert_sound(store)


async def test_an_expired_hold_is_released_and_can_still_be_captured_once(store: LedgerStore) -> None:
    await commit(store, grant(10), reserve("r"))
    assert await one(store, expire("r")) == Effect(PRICE, 10, 0)
    assert await one(store, expire("r")) == Effect(PRICE, 10, 0)
    for _ in range(2):
        assert await one(store, settle("r")) == Effect(PRICE, 0, 0)
    await assert_sound(store)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("ends", list(product(_ENDS, repeat=2)))
async def test_two_settlements_of_an_expired_hold(
    store: LedgerStore, ends: tuple[Outcome, Outcome], together: bool
) -> None:
    await commit(store, grant(10), reserve("r"))
    await one(store, expire("r"))
    operations: list[Operation] = [settle("r", end) for end in ends]
    answers = await commit(store, *operations) if together else [(await commit(store, each))[0] for each in operations]
    assert not [answer for answer in answers if isinstance(answer, MeshError)]
    # The first one decides; only a failure undoes the charge of an answer that was complete.
    charged = ends[0] in CHARGED and ends != (Outcome.COMPLETED, Outcome.FAILED)
    assert await store.balance("acct") == Balance(0 if charged else 10, 0)
    await assert_sound(store)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("end", [end for end in _ENDS if end not in CHARGED])
async def test_a_reserve_behind_the_free_end_of_its_request_holds_nothing(
    store: LedgerStore, end: Outcome, together: bool
) -> None:
    await one(store, grant(10))
    operations: list[Operation] = [settle("r", end), reserve("r"), settle("r")]
    answers = await commit(store, *operations) if together else [(await commit(store, each))[0] for each in operations]
    assert answers[0] == answers[2] == Effect(0, 0, 0)
    assert code(answers[1]) is Code.CONFLICT
    assert await store.balance("acct") == Balance(10, 0)
    await assert_sound(store)


async def test_a_late_settle_without_credits_is_refused_until_there_are_some(store: LedgerStore) -> None:
    await commit(store, grant(10), reserve("r"))
    await commit(store, expire("r"), reserve("next"))
    (answer,) = await commit(store, settle("r"))
    assert code(answer) is Code.INSUFFICIENT_CREDITS
    assert await one(store, grant(10, grant_id="more")) == Effect(10, 10, 10)
    assert await one(store, settle("r")) == Effect(PRICE, 0, 10)
    await assert_sound(store)


async def test_a_settled_hold_does_not_expire(store: LedgerStore) -> None:
    await commit(store, grant(10), reserve("r"), settle("r"))
    await one(store, expire("r"))
    assert await store.balance("acct") == Balance(0, 0)
    await assert_sound(store)


async def test_a_repeated_grant_adds_once(store: LedgerStore) -> None:
    assert await commit(store, grant(5), grant(5)) == [Effect(5, 5, 0)] * 2
    assert await one(store, grant(5)) == Effect(5, 5, 0)
    answers = await commit(store, grant(6), grant(5, "other"))
    assert [code(answer) for answer in answers] == [Code.CONFLICT, Code.CONFLICT]
    await assert_sound(store)


async def test_free_models_need_no_credits(store: LedgerStore) -> None:
    assert await one(store, reserve("r", price=0)) == Effect(0, 0, 0)
    assert await one(store, settle("r")) == Effect(0, 0, 0)
    await assert_sound(store)


async def test_overdue_holds_are_found_oldest_first(store: LedgerStore) -> None:
    await store.commit([grant(100), reserve("b")], 2_000)
    await store.commit([reserve("a")], 1_000)
    await store.commit([reserve("new")], 3_000)
    await store.commit([settle("new")], 3_000)
    assert await store.overdue(3_000, 10) == ["a", "b"]
    assert await store.overdue(10_000, 1) == ["a"]
    assert await store.open_holds() == OpenHolds(2, 2 * PRICE, 1_000)


async def test_a_batch_may_hold_anything_a_text_can(store: LedgerStore) -> None:
    strange = "'; DROP TABLE entries; -- 🦙 %s :x $1 {\\"
    await commit(store, grant(50, strange, strange), reserve(strange, strange, model=strange))
    assert await one(store, settle(strange)) == Effect(PRICE, 40, 0)
    await assert_sound(store)
