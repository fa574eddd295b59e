"""A table, placement and routing whose time and randomness the test decides."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.catalog import Catalog, Model
from services.common.errors import MeshError
from services.common.registry import RunnerRecord
from services.router.pauses import Pauses
from services.router.placement import Needs, Placement
from services.router.queue import Waiter
from services.router.routing import Limits, Routing
from services.router.runners.live_runner import LiveRunner
from services.router.runners.load import Report
from services.router.runners.table import Table

CATALOG = Catalog(
    [
        Model(id="small", kind="chat", tier="pro", price=1, context=64),
        Model(id="large", kind="chat", tier="max", price=2, context=64),
        Model(id="large-think", kind="chat", tier="max", price=3, context=64),
    ]
)


@dataclass
class ManualClock:
    """A clock that stands still until the test moves it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class StreamsLog:
    """Notes which status streams the table wants."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, float]] = []
        self.closed: list[str] = []

    def open(self, runner: LiveRunner, delay: float) -> None:
        self.opened.append((runner.id, delay))

    def close(self, runner: LiveRunner) -> None:
        self.closed.append(runner.id)


def record(
    runner_id: str,
    *models: str,
    tier: str = "pro",
    slots: int = 4,
    state: str = "ready",
    capabilities: tuple[str, ...] = (),
    address: str = "",
    vocabulary: str = "",
) -> RunnerRecord:
    return RunnerRecord(
        id=runner_id,
        address=address or f"{runner_id}:1",
        tier=tier,
        models=list(models) or ["small"],
        capabilities=list(capabilities),
        context=64,
        slots=slots,
        vocabulary=vocabulary,
        engine="simulated",
        version="1",
        state=state,
    )


class World:
    """The router's domain, with helpers that say in one line what a runner or an edge does."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        synced: bool = True,
        catalog: Catalog = CATALOG,
        pausing: bool = False,
    ) -> None:
        self.clock = ManualClock()
        self.streams = StreamsLog()
        self.table = Table(self.streams, self.clock)
        self.placement = Placement(self.table, self.clock, random.Random(7).random)
        # Of a clock that stands still: the tests' great steps are no pauses of the process.
        self.pauses = Pauses(self.clock if pausing else ManualClock())
        self.routing = Routing(catalog, self.table, self.placement, limits or Limits(), self.clock, self.pauses)
        # What became of each request, by name, in order.
        self.answers: list[tuple[str, LiveRunner | MeshError]] = []
        if synced:
            self.table.replace([])

    def up(
        self,
        runner_id: str,
        *models: str,
        slots: int = 4,
        active: int = 0,
        admitted: int | None = None,
        **fields: object,
    ) -> LiveRunner:
        """A runner registers and sends its first status; unless told otherwise, it has admitted what it runs."""
        self.table.register(record(runner_id, *models, slots=slots, **fields))  # type: ignore[arg-type]  # record checks
        runner = self.runner(runner_id)
        self.table.report(runner, Report(slots=slots, active=active, admitted=active if admitted is None else admitted))
        return runner

    def runner(self, runner_id: str) -> LiveRunner:
        return next(runner for runner in self.table.all() if runner.id == runner_id)

    def ids(self) -> list[str]:
        return [runner.id for runner in self.table.all()]

    def ask(
        self,
        name: str,
        model: str = "small",
        *,
        account: str = "",
        timeout: float = 10.0,
        needs: Needs | None = None,
        prefix_hashes: Sequence[int] = (),
    ) -> Waiter | None:
        """A request arrives; its account has its name unless another is given."""
        return self.routing.route(
            needs or Needs(model),
            account or name,
            timeout,
            lambda outcome: self.answers.append((name, outcome)),
            prefix_hashes=prefix_hashes,
        )

    def finish(self, runner: LiveRunner, *, admitted: int) -> None:
        """A status says that the runner has admitted so many requests in all and runs one less than it could."""
        self.table.report(runner, Report(slots=runner.load.slots, active=runner.load.slots - 1, admitted=admitted))

    def placed(self) -> list[tuple[str, str]]:
        """Returns (request, runner) in the order of the answers."""
        return [(name, outcome.id) for name, outcome in self.answers if isinstance(outcome, LiveRunner)]

    def refusals(self) -> list[tuple[str, MeshError]]:
        return [(name, outcome) for name, outcome in self.answers if isinstance(outcome, MeshError)]

    def advance(self, seconds: float) -> None:
        self.clock.now += seconds
        self.routing.tick()
