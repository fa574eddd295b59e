"""Answers each request: a runner at once, a place in the queue of its tier, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.common.catalog import Catalog, Model
from services.common.errors import Code, MeshError
from services.router.metrics import QUEUE_WAIT, REFUSALS, Tier
from services.router.pauses import Pauses
from services.router.placement import Lack, Needs, Placement
from services.router.queue import FairQueue, OnPlaced, Waiter
from services.router.runners.table import Table

# Seconds by which a refusal precedes the caller's own deadline, so that it is still heard; at most a fifth of it.
ANSWER_MARGIN = 0.25


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many may wait and how long; the settings document the fields."""

    queue: int = 2000
    account: int = 500
    settle_seconds: float = 2.0


class Routing:
    """Everything that happens between a request and its answer. `tick` must be called several times a second."""

    def __init__(
        self,
        catalog: Catalog,
        table: Table,
        placement: Placement,
        limits: Limits,
        clock: Callable[[], float],
        pauses: Pauses,
    ) -> None:
        """`pauses` says when this router stood still: it must not take its own silence for that of the runners."""
        self._pauses = pauses
        self._catalog = catalog
        self._placement = placement
        self._limits = limits
        self._clock = clock
        self._queues = {model.tier: self._new_queue() for model in catalog.models}
        table.on_change = self.serve_waiting

    def route(
        self,
        needs: Needs,
        account_id: str,
        timeout: float,
        answer: OnPlaced,
        *,
        prefix_hashes: Sequence[int] = (),
        again: bool = False,
    ) -> Waiter | None:
        """Answers, or returns the waiter that will be answered within `timeout` seconds and that `cancel` withdraws.

        `prefix_hashes` say which runner is best, and `again` that the request was placed before and refused by the
        runner for want of room.
        """
        model = self._catalog.get(needs.model)
        if model is None:
            answer(MeshError(Code.MODEL_NOT_FOUND, f"The model {needs.model!r} does not exist.", param="model"))
            return None
        queue = self._queue(model.tier)
        outcome = Lack.BUSY if queue.wanted(needs) else self._placement.choose(needs, prefix_hashes)
        if not isinstance(outcome, Lack):
            answer(outcome)
            return None
        waiter = self._waiter(needs, account_id, model, timeout, answer, prefix_hashes)
        if outcome is Lack.NONE and waiter.start_by <= waiter.since and not self._settling:
            answer(self._no_runner(model.tier, needs))
            return None
        if not queue.add(waiter, again=again):
            answer(self._queue_full(model.tier))
            return None
        return waiter

    def cancel(self, waiter: Waiter) -> None:
        """Withdraws a waiting request; it is not answered any more."""
        self._queues[waiter.tier].remove(waiter)

    def waited(self, waiter: Waiter) -> float:
        """Returns for how many seconds a request has waited."""
        return self._clock() - waiter.since

    def serve_waiting(self) -> None:
        """Places those who wait, as far as there is room, and refuses those for whom there is nobody left."""
        for queue in self._queues.values():
            if queue:
                queue.serve(self._settle)

    def tick(self) -> None:
        """Does what only time brings about: room by forgotten placements, and deadlines."""
        self.serve_waiting()
        if self._settling:
            return
        now = self._clock()
        for queue in self._queues.values():
            for waiter in queue or ():
                if (refusal := self._overdue(waiter, now)) is not None:
                    queue.remove(waiter)
                    waiter.answer(refusal)

    def depths(self) -> list[tuple[str, int]]:
        """Returns how many wait in each tier."""
        return [(tier, len(queue)) for tier, queue in self._queues.items()]

    def tiers(self) -> list[Tier]:
        """Returns the state of each tier of the catalog, for metrics."""
        cold_starts: dict[str, float] = {}
        for model in self._catalog.models:
            cold_starts[model.tier] = max(model.cold_start_seconds, cold_starts.get(model.tier, 0.0))
        return [Tier(tier, len(self._queue(tier)), seconds) for tier, seconds in cold_starts.items()]

    @property
    def _settling(self) -> bool:
        """Whether this router has stood still, and the runners have not had the time to be heard since."""
        since = self._pauses.since()
        return since is not None and since < self._limits.settle_seconds

    def _new_queue(self) -> FairQueue:
        return FairQueue(self._limits.queue, self._limits.account)

    def _queue(self, tier: str) -> FairQueue:
        """Returns the queue of a tier, which may have come into the catalog after the start."""
        if tier not in self._queues:
            self._queues[tier] = self._new_queue()
        return self._queues[tier]

    def _waiter(
        self,
        needs: Needs,
        account_id: str,
        model: Model,
        timeout: float,
        answer: OnPlaced,
        prefix_hashes: Sequence[int],
    ) -> Waiter:
        now = self._clock()
        deadline = now + timeout - min(ANSWER_MARGIN, timeout / 5)
        settle_by = min(deadline, now + self._limits.settle_seconds)
        # Who has seen a runner fail is not kept waiting for another one to be started, and what is free starts none.
        waits = not (needs.excluded or needs.slotless)
        start_by = min(deadline, now + model.cold_start_seconds) if waits else now
        return Waiter(needs, account_id, model.tier, answer, now, deadline, settle_by, start_by, prefix_hashes)

    def _settle(self, waiter: Waiter) -> bool:
        """Tries to place a waiting request; True if it has been answered."""
        outcome = self._placement.choose(waiter.needs, waiter.prefix_hashes)
        if outcome is Lack.NONE and self._clock() >= waiter.start_by and not self._settling:
            waiter.answer(self._no_runner(waiter.tier, waiter.needs))
        elif isinstance(outcome, Lack):
            return False
        else:
            QUEUE_WAIT.labels(waiter.tier).observe(self.waited(waiter))
            waiter.answer(outcome)
        return True

    def _overdue(self, waiter: Waiter, now: float) -> MeshError | None:
        """Returns the refusal that is due, if any."""
        if now < waiter.settle_by:
            return None
        if self._placement.lack(waiter.needs) is not Lack.BUSY:
            if now < waiter.start_by:
                return None
            return self._no_runner(waiter.tier, waiter.needs)
        if now < waiter.deadline:
            return None
        REFUSALS.labels(waiter.tier, "busy").inc()
        message = f"every runner of tier {waiter.tier!r} stayed busy; try again shortly"
        return MeshError(Code.DEADLINE_EXCEEDED, message, retry_after=1.0)

    def _queue_full(self, tier: str) -> MeshError:
        REFUSALS.labels(tier, "queue_full").inc()
        message = f"too many requests wait for a runner of tier {tier!r}; try again shortly"
        return MeshError(Code.OVERLOADED, message, retry_after=1.0)

    def _no_runner(self, tier: str, needs: Needs) -> MeshError:
        REFUSALS.labels(tier, "no_runner").inc()
        able = f" that can do {', '.join(sorted(needs.capabilities))}" if needs.capabilities else ""
        message = f"no runner of tier {tier!r}{able} is available for model {needs.model!r} now; try again later"
        return MeshError(Code.UNAVAILABLE, message, retry_after=5.0)
