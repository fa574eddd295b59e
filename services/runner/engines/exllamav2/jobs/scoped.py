"""Jobs of the library that share pages of its cache with jobs of the same scope alone.

The library knows a full page by a hash over its tokens and all before them, and compares the tokens of other pages.
Both would find what another account has sent. Here the scope comes first in the hash, and each page knows whose it is.
This relies on how version 0.3.2 calls its own methods; the contract suite fails if another version does otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from exllamav2.generator import ExLlamaV2DynamicJob, dynamic

# What hashes of first pages begin with; None outside of these jobs.
_scope: ContextVar[bytes | None] = ContextVar("scope", default=None)
_checksum = dynamic._tensor_hash_checksum  # noqa: SLF001 - the library has no other place for it


def _scoped_checksum(tokens: torch.Tensor, previous: bytes | None) -> bytes:
    checksum: bytes = _checksum(tokens, _scope.get() if previous is None else previous)
    return checksum


dynamic._tensor_hash_checksum = _scoped_checksum  # noqa: SLF001 - as above


class ScopedJob(ExLlamaV2DynamicJob):  # type: ignore[misc] # the library has no types
    """A job with a scope."""

    def __init__(self, *, scope: str, **fields: Any) -> None:
        """`fields` are the library's."""
        super().__init__(**fields)
        self._scope = scope.encode()

    def prepare_for_queue(self, generator: Any, serial_number: int) -> None:
        """Hashes the pages of the prompt."""
        with self._hashing():
            super().prepare_for_queue(generator, serial_number)

    def receive_sample(self, *arguments: Any, **fields: Any) -> Any:
        """Takes a token, and hashes the page that it fills."""
        with self._hashing():
            return super().receive_sample(*arguments, **fields)

    def allocate_pages(self) -> None:
        """Takes pages."""
        super().allocate_pages()
        for page in self._pages():
            page.scope_before = getattr(page, "scope", b"")
            page.scope = self._scope

    def deallocate_pages(self) -> None:
        """Gives the pages back; those that were not written to have what they had before."""
        for page in self._pages():
            if page.can_revert:
                page.scope = page.scope_before
        super().deallocate_pages()

    def prefill(self, results: list[Any]) -> Any:
        """Reads a part of the prompt, from where a page of the same scope ends."""
        generator = self.generator
        pages = generator.all_pages
        if any(sequence.kv_position < generator.page_size for sequence in self.sequences):
            # Pages at the beginning of a prompt have no hash of what comes before them.
            generator.all_pages = [page for page in pages if getattr(page, "scope", b"") == self._scope]
        try:
            return super().prefill(results)
        finally:
            generator.all_pages = pages

    def _pages(self) -> Iterator[Any]:
        return (page for sequence in self.sequences for page in sequence.allocated_pages or ())

    @contextmanager
    def _hashing(self) -> Iterator[None]:
        token = _scope.set(self._scope)
        try:
            yield
        finally:
            _scope.reset(token)
