"""Many at once, through one replica and through two, never spend a credit twice."""

from __future__ import annotations

import asyncio
import random

from services.billing.ledger.holds import Outcome
from services.billing.ledger.ledger import Balance
from services.billing.ledger.operations import Effect, Operation
from services.common.errors import Code, MeshError
from tests.integration.billing.operations_for_tests import PRICE, assert_sound, commit, expire, grant, reserve, settle
from tests.integration.billing.replica import Replica


async def test_credit_for_k_serves_exactly_k(replicas: list[Replica]) -> None:
    await commit(replicas[0].store, grant(20 * PRICE + 7))
    doing = [replicas[i % len(replicas)].do(reserve(f"r{i}")) for i in range(100)]
    answers = await asyncio.gather(*doing)
    assert sum(isinstance(answer, Effect) for answer in answers) == 20
    assert {answer.code for answer in answers if isinstance(answer, MeshError)} == {Code.INSUFFICIENT_CREDITS}
    assert await replicas[0].store.balance("acct") == Balance(7, 20 * PRICE)
    await assert_sound(replicas[0].store)


async def test_the_same_calls_through_every_replica_count_once(replicas: list[Replica]) -> None:
    await commit(replicas[0].store, grant(1000))
    for make in reserve, settle:
        doing = [replica.do(make(f"r{i}")) for i in range(30) for replica in (*replicas, replicas[0])]
        answers = await asyncio.gather(*doing)
        assert {answer.amount for answer in answers if isinstance(answer, Effect)} == {PRICE}
        assert all(isinstance(answer, Effect) for answer in answers)
    assert await replicas[0].store.balance("acct") == Balance(700, 0)
    await assert_sound(replicas[0].store)


async def test_new_accounts_are_granted_by_all_replicas_at_once(replicas: list[Replica]) -> None:
    doing = [
        replica.do(grant(5, f"acct{i % 7}", f"grant{i}{'-' * number * (i % 2)}"))
        for i in range(40)
        for number, replica in enumerate(replicas)
    ]
    assert all(isinstance(answer, Effect) for answer in await asyncio.gather(*doing))
    await assert_sound(replicas[0].store)


async def test_a_storm_of_everything_leaves_the_books_balanced(replicas: list[Replica]) -> None:
    dice = random.Random(7)
    await commit(replicas[0].store, *(grant(300, f"acct{i}", f"grant{i}") for i in range(4)))
    operations: list[Operation] = []
    for i in range(300):
        name = f"r{dice.randrange(120)}"
        possible: list[Operation] = [
            reserve(name, f"acct{dice.randrange(4)}"),
            reserve(name, f"acct{int(name[1:]) % 4}"),
            settle(name, dice.choice([Outcome.COMPLETED, Outcome.FAILED])),
            expire(name),
            grant(1, f"acct{dice.randrange(4)}", f"more{i % 50}"),
        ]
        operations.append(dice.choice(possible))
    answers = await asyncio.gather(*(dice.choice(replicas).do(operation) for operation in operations))
    refusals = {answer.code for answer in answers if isinstance(answer, MeshError)}
    assert refusals <= {Code.CONFLICT, Code.NOT_FOUND, Code.INSUFFICIENT_CREDITS}
    await assert_sound(replicas[0].store)
