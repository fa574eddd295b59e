from __future__ import annotations

from dataclasses import replace

import pytest

from services.auth.key_cache import KeyCache
from services.auth.keys import ApiKey
from services.common.errors import Code, MeshError
from tests.unit.auth.keys_for_tests import api_key

SECRET = "sk-tiermesh-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


def cache_of(*keys: ApiKey) -> KeyCache:
    cache = KeyCache()
    cache.load(keys)
    return cache


def refusal(cache: KeyCache, secret: str, now_ms: int = 0) -> str:
    with pytest.raises(MeshError) as caught:
        cache.verify(secret, now_ms)
    assert caught.value.code is Code.UNAUTHENTICATED
    assert SECRET not in caught.value.message
    return caught.value.message


def test_a_known_key_tells_whose_it_is() -> None:
    cache = cache_of(api_key(SECRET, id="key_7", account_id="acct_9", requests_per_minute=5))
    credential = cache.verify(SECRET, 0)
    assert (credential.key_id, credential.account_id, credential.requests_per_minute) == ("key_7", "acct_9", 5)
    assert len(cache) == 1


def test_no_key_is_told_where_it_goes() -> None:
    assert "Authorization" in refusal(KeyCache(), "")


@pytest.mark.parametrize("wrong", [SECRET[:-1], SECRET + "x", SECRET.swapcase(), "x" * 100_000, "s", "ключ", " "])
def test_an_unknown_key_is_not_repeated(wrong: str) -> None:
    message = refusal(cache_of(api_key(SECRET)), wrong)
    assert message.startswith("Incorrect API key provided.")
    assert "sk-" not in message


def test_an_unknown_key_tells_the_same_as_one_that_is_too_long() -> None:
    assert refusal(KeyCache(), "sk-x") == refusal(KeyCache(), "sk-x" * 1000)


def test_a_revoked_key_says_so() -> None:
    message = refusal(cache_of(api_key(SECRET, revoked_at_ms=1)), SECRET)
    assert "sk-tiermesh-abcd… was revoked" in message


def test_a_key_works_until_the_millisecond_of_its_expiry() -> None:
    cache = cache_of(api_key(SECRET, expires_at_ms=1_800_000_000_000))
    cache.verify(SECRET, 1_799_999_999_999)
    message = refusal(cache, SECRET, 1_800_000_000_000)
    assert "sk-tiermesh-abcd… expired at 2027-01-15 08:00:00 UTC" in message


def test_a_change_holds_for_the_next_verification() -> None:
    key = api_key(SECRET, requests_per_minute=60)
    cache = cache_of(key)
    cache.put(replace(key, requests_per_minute=5))
    assert cache.verify(SECRET, 0).requests_per_minute == 5
    cache.put(replace(key, revoked_at_ms=1))
    refusal(cache, SECRET)


def test_a_late_notice_brings_no_revoked_key_back() -> None:
    key = api_key(SECRET)
    cache = cache_of(replace(key, revoked_at_ms=1))
    cache.put(key)
    assert "revoked" in refusal(cache, SECRET)


def test_old_news_changes_nothing() -> None:
    key = api_key(SECRET, expires_at_ms=5, change_number=2)
    cache = cache_of(key)
    cache.put(replace(key, expires_at_ms=0, change_number=1))
    assert "expired" in refusal(cache, SECRET, 5)
    cache.put(replace(key, expires_at_ms=0, change_number=3))
    cache.verify(SECRET, 5)


def test_loading_anew_forgets_what_the_store_has_not_but_no_revocation() -> None:
    key = api_key(SECRET)
    cache = cache_of(replace(key, revoked_at_ms=1), api_key("sk-x-gone", id="key_2"))
    cache.load([key])
    assert len(cache) == 1
    assert "revoked" in refusal(cache, SECRET)


async def test_dead_keys_are_dropped_and_the_others_are_not() -> None:
    cache = cache_of(
        api_key("sk-x-revoked", id="key_1", revoked_at_ms=5),
        api_key("sk-x-expired", id="key_2", expires_at_ms=6),
        api_key("sk-x-living", id="key_3"),
    )
    for before_ms, left in ((4, 3), (5, 2), (6, 1), (10**15, 1)):
        await cache.prune(before_ms)
        assert len(cache) == left
    cache.verify("sk-x-living", 7)


def test_a_load_changes_nothing_until_it_is_finished_and_misses_nothing() -> None:
    gone, stays = api_key("sk-x-gone"), api_key("sk-x-stays", id="key_2", change_number=1)
    cache = cache_of(gone, stays)
    load = cache.begin_load()
    load.add([stays])
    cache.verify("sk-x-gone", 0)
    # What happens meanwhile is later than what the load brings.
    cache.put(api_key("sk-x-new", id="key_3", change_number=3))
    cache.put(replace(stays, revoked_at_ms=5, change_number=2))
    assert "revoked" in refusal(cache, "sk-x-stays")
    load.add([stays])
    load.finish()
    assert "revoked" in refusal(cache, "sk-x-stays")
    assert "Incorrect" in refusal(cache, "sk-x-gone")
    assert cache.verify("sk-x-new", 0).key_id == "key_3"
    assert len(cache) == 2


@pytest.mark.parametrize("most", [1, 3])
def test_any_number_of_keys_may_be_in_use(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr("services.auth.key_cache.cache._MOST_READY", most)
    keys = [api_key(f"sk-x-{number}", id=f"key_{number}") for number in range(5)]
    cache = cache_of(*keys)
    for _ in range(2):
        assert [cache.verify(f"sk-x-{number}", 0).key_id for number in range(5)] == [key.id for key in keys]
        assert len(cache._ready) <= most
