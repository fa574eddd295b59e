"""Keeps what a server has read of one account's prompts from being found by another account (decision 27)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.runner.engines.upstream.quirks import Quirks


class PromptCache:
    """The prompt cache of one server, as far as its requests decide who finds what in it.

    A server that cannot divide it by account has it as long as all requests come from one account.
    """

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        # The scope of the first request; None before.
        self._first: str | None = None
        self._shared = False

    def fields(self, scope: str) -> Mapping[str, Any]:
        """Returns what the next request says of the cache; `scope` is that of its account."""
        if self._first is None:
            self._first = scope
        self._shared |= scope != self._first
        if self._quirks.cache_scope:
            return {self._quirks.cache_scope: scope} if scope else {}
        return self._quirks.without_cache if self._shared else {}

    @property
    def tells_of_others(self) -> bool:
        """Whether the number of cached tokens may tell of what another account has sent."""
        return self._shared and not (self._quirks.cache_scope or self._quirks.without_cache)
