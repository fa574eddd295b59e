"""Who finds what in the prompt cache of a server."""

from __future__ import annotations

import pytest

from services.runner.engines.upstream.prompt_cache import PromptCache
from services.runner.engines.upstream.quirks import KINDS, UNKNOWN, Quirks, quirks_of


@pytest.mark.parametrize("owner", ["vllm", "sglang"])
def test_a_cache_that_can_be_divided_is_divided_by_account(owner: str) -> None:
    cache = PromptCache(quirks_of(owner))
    assert [cache.fields(scope) for scope in ("one", "other")] == [{"cache_salt": "one"}, {"cache_salt": "other"}]
    assert not cache.tells_of_others
    # An edge of an older version names no account.
    assert cache.fields("") == {}


def test_a_cache_that_cannot_be_divided_is_used_by_a_single_account() -> None:
    cache = PromptCache(quirks_of("llamacpp"))
    scopes = ("one", "one", "other", "one")
    assert [cache.fields(scope) for scope in scopes] == [{}, {}, {"cache_prompt": False}, {"cache_prompt": False}]
    assert not cache.tells_of_others


@pytest.mark.parametrize("quirks", [*KINDS, UNKNOWN], ids=lambda quirks: quirks.name)
def test_a_cache_that_nothing_is_said_to_does_not_tell_its_counts_to_two_accounts(quirks: Quirks) -> None:
    cache = PromptCache(quirks)
    cache.fields("one")
    assert not cache.tells_of_others
    cache.fields("other")
    assert cache.tells_of_others is not bool(quirks.cache_scope or quirks.without_cache)
