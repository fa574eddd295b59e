"""Counts the tokens of prompts beside the jobs of the engine, one after the other on a thread of its own.

A count takes no slot, and neither rendering nor tokenising ever holds up the event loop. One thread is all that counts
can take of the processor, however many there are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.runner.refusals import counts_wait
from tiermesh.runner.v1.runner_pb2 import GenerateCall, TokenCount

log = get_logger()
# So many prompts may wait, and so many of one account, and they may have so many bytes.
MOST_WAITING = 64
MOST_OF_ACCOUNT = 16
MOST_BYTES = 64 << 20


class CountsPrompts(Protocol):
    """Counts one prompt; blocks."""

    def count(self, call: GenerateCall, model: Model) -> TokenCount:
        """Returns the count, or raises MeshError."""


class WaitingPrompt:
    """A prompt that waits to be counted, which is also its ticket."""

    # Nothing tells how far a count has come.
    progress = 0

    def __init__(self, scope: str, size: int, emit: Callable[[TokenCount | MeshError], None]) -> None:
        self.scope = scope
        # Of the call, in bytes.
        self.size = size
        # None once nobody waits for the count.
        self.emit: Callable[[TokenCount | MeshError], None] | None = emit

    def cancel(self) -> None:
        """Withdraws the prompt; what is being counted is counted to its end. Harmless after the end."""
        self.emit = None


class Counting:
    """The counts of one runner. All methods are called on the event loop's thread."""

    def __init__(self, counter: CountsPrompts) -> None:
        self._counter = counter
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="counting")
        # Those that wait, by account, and the bytes of all of them; the one that is being counted is among them.
        self._waiting: Counter[str] = Counter()
        self._bytes = 0

    def submit(self, call: GenerateCall, model: Model, emit: Callable[[TokenCount | MeshError], None]) -> WaitingPrompt:
        """Has a prompt counted, and `emit` told of it later; raises MeshError OVERLOADED if too many wait."""
        scope, size = call.cache_scope, call.ByteSize()
        if self._waiting.total() >= MOST_WAITING or self._waiting[scope] >= MOST_OF_ACCOUNT:
            raise counts_wait()
        if self._bytes and self._bytes + size > MOST_BYTES:
            raise counts_wait()
        count = WaitingPrompt(scope, size, emit)
        self._waiting[scope] += 1
        self._bytes += size
        self._thread.submit(self._work, asyncio.get_running_loop(), count, call, model)
        return count

    async def close(self) -> None:
        """Waits for the count that runs; those that wait are never answered."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _work(self, loop: asyncio.AbstractEventLoop, count: WaitingPrompt, call: GenerateCall, model: Model) -> None:
        """Runs on the thread."""
        outcome: TokenCount | MeshError | None = None
        if count.emit is not None:
            outcome = self._outcome(call, model)
        loop.call_soon_threadsafe(partial(self._end, count, outcome))

    def _outcome(self, call: GenerateCall, model: Model) -> TokenCount | MeshError:
        try:
            return self._counter.count(call, model)
        except MeshError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever a library raises ends this count and no other
            # Only its type is logged: its text may quote the prompt.
            log.warning("count_failed", request_id=call.request_id, error=type(error).__name__)
            return MeshError(Code.INTERNAL, "The runner failed to count the tokens. Try again.")

    def _end(self, count: WaitingPrompt, outcome: TokenCount | MeshError | None) -> None:
        self._waiting[count.scope] -= 1
        if not self._waiting[count.scope]:
            del self._waiting[count.scope]
        self._bytes -= count.size
        emit, count.emit = count.emit, None
        if emit is not None and outcome is not None:
            emit(outcome)
