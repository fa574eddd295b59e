"""Packed credentials are what was put in, whatever else is kept."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from services.auth.key_cache.credential import Credential
from services.auth.key_cache.records import KeyRecords
from services.auth.labels import new_id


def credential(chance: random.Random, **fields: object) -> Credential:
    """A key with random terms, of which there are few kinds."""
    limits = chance.choice(((), (("key_above", 5), ("key_own", 3))))
    made = Credential(
        key_id=chance.choice((new_id("key", chance.randbytes), f"key_{chance.randrange(1000)}", "key_" + "A" * 24)),
        account_id=chance.choice((new_id("acct", chance.randbytes), "acct_1", "key_" + "0" * 24)),
        digest=chance.randbytes(32),
        requests_per_minute=chance.choice((0, 60, 2**32 - 1)),
        expires_at_ms=chance.choice((0, 5, 2**62)),
        revoked_at_ms=chance.choice((0, 7)),
        models=chance.choice(((), ("tiermesh-pro",))),
        endpoints=chance.choice(((), ("chat", "keys"))),
        monthly_credit_cap=chance.choice((0, 10, 2**62)),
        change_number=chance.choice((0, 1, 2**62)),
        caps=limits,
        rates=limits,
        refusal=chance.choice(("", "", "The account is closed.")),
    )
    return replace(made, **fields)  # type: ignore[arg-type]  # Tests name fields that exist.


@pytest.mark.parametrize("seed", range(5))
def test_records_are_a_dictionary(seed: int) -> None:
    chance = random.Random(seed)
    records, model = KeyRecords(10_000), dict[bytes, Credential]()
    for _ in range(1500):
        step = chance.random()
        if step < 0.6 or not model:
            kept = credential(chance)
        else:
            # Another credential, or another state of the same, for a digest that is kept.
            digest, old = chance.choice(list(model.items()))
            kept = credential(chance, digest=digest) if step < 0.8 else replace(old, revoked_at_ms=7)
        records.put(kept)
        model[kept.digest] = kept
        if step > 0.99:
            before_ms = chance.choice((4, 5, 7))
            for _ in records.prune(before_ms):
                pass
            model = {digest: each for digest, each in model.items() if not each.ended(before_ms)}
        assert len(records) == len(model)
    assert {digest: records.get(digest) for digest in model} == model
    assert records.get(chance.randbytes(32)) is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limit", [1, 7, 600])
def test_beyond_the_limit_what_was_used_last_is_kept_and_the_rest_may_exist(seed: int, limit: int) -> None:
    chance = random.Random(seed)
    records, model = KeyRecords(limit), dict[bytes, Credential]()
    for number in range(1, 2 * limit + 50):
        kept = credential(chance, change_number=number)
        records.put(kept)
        model[kept.digest] = kept
        assert len(records) == min(number, limit)
        records.note_use(chance.choice(list(model)))
    for digest, kept in model.items():
        found = records.get(digest)
        assert found == kept or (found is None and records.may_exist(digest))
        assert records.may_be_old(digest, 0) is (found is None)
        assert not records.may_be_old(digest, 2 * limit + 50)


def test_what_was_not_used_for_longest_goes_first() -> None:
    chance = random.Random(1)
    records = KeyRecords(3)
    ids = {"key_id": new_id("key", chance.randbytes), "account_id": new_id("acct", chance.randbytes)}
    first, second, third, fourth = (credential(chance, **ids) for _ in range(4))
    for each in (first, second, third):
        records.put(each)
    # Nothing had to go, so nothing is noted; and a stranger cannot exist.
    records.note_use(first.digest)
    assert not records.may_exist(fourth.digest)
    records.put(fourth)
    assert records.get(first.digest) is None
    records.note_use(second.digest)
    records.put(first)
    assert [records.get(each.digest) is not None for each in (first, second, third, fourth)] == [
        True,
        True,
        False,
        True,
    ]
    assert len(records._terms) <= 3


def test_terms_go_with_the_last_key_that_has_them() -> None:
    chance = random.Random(1)
    records = KeyRecords(10_000)
    for number in range(100):
        own = credential(chance, key_id=new_id("key", chance.randbytes), account_id=new_id("acct", chance.randbytes))
        records.put(replace(own, monthly_credit_cap=number, expires_at_ms=5, revoked_at_ms=0))
    assert len(records._terms) == 100
    for _ in records.prune(5):
        pass
    assert (len(records), len(records._terms)) == (0, 0)


def test_a_digest_that_lies_across_two_fields_of_another_record_is_another_one() -> None:
    chance = random.Random(2)
    # Its first bytes, which say where it is kept, are those of its ninth.
    ends = chance.randbytes(3)
    one = credential(
        chance,
        key_id=new_id("key", chance.randbytes),
        account_id=new_id("acct", chance.randbytes),
        digest=ends + chance.randbytes(5) + ends + chance.randbytes(21),
    )
    across = one.digest[8:] + bytes.fromhex(one.key_id.removeprefix("key_"))[:8]
    records = KeyRecords(10_000)
    records.put(one)
    assert records.get(across) is None
    other = replace(one, key_id=new_id("key", chance.randbytes), digest=across)
    records.put(other)
    assert (records.get(one.digest), records.get(across)) == (one, other)


def test_pruning_lets_others_work_between_two_slices() -> None:
    chance = random.Random(3)
    records = KeyRecords(10_000)
    for _ in range(1000):
        records.put(credential(chance, expires_at_ms=5, revoked_at_ms=0))
    slices = records.prune(5)
    next(slices)
    assert 0 < len(records) < 1000
    late = credential(chance, expires_at_ms=0, revoked_at_ms=0)
    records.put(late)
    for _ in slices:
        pass
    assert len(records) == 1
    assert records.get(late.digest) == late
