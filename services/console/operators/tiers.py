"""What each tier can do now."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.catalog import Catalog
from services.console.operators.mesh import RunnersSeen


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier: its runners, the requests that they can run and that they run, and those that wait for one of them."""

    name: str
    ready: int
    runners: int
    slots: int
    active: int
    queued: int


def tiers(catalog: Catalog, seen: RunnersSeen) -> list[Tier]:
    """Returns the tiers of the catalog and those of which there are runners all the same."""
    names = dict.fromkeys([*(model.tier for model in catalog.models), *(runner.tier for runner in seen.runners)])
    return [_tier(name, seen) for name in names]


def _tier(name: str, seen: RunnersSeen) -> Tier:
    runners = [runner for runner in seen.runners if runner.tier == name]
    ready = [runner for runner in runners if runner.state == "ready"]
    return Tier(
        name,
        len(ready),
        len(runners),
        sum(runner.slots for runner in ready),
        sum(runner.active for runner in runners),
        seen.queued.get(name, 0),
    )
