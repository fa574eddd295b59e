from __future__ import annotations

from services.common.catalog import load_catalog
from services.common.settings import DEFAULT_CATALOG
from services.console.operators.mesh import RunnersSeen
from services.console.operators.tiers import Tier, tiers
from tiermesh.router.v1 import router_pb2


def test_tiers_without_runners_and_runners_without_a_tier_are_shown() -> None:
    runners = [
        router_pb2.RunnerView(id="a", tier="pro", state="ready", slots=4, active=3),
        router_pb2.RunnerView(id="b", tier="pro", state="drained", slots=4, active=1),
        router_pb2.RunnerView(id="c", tier="of yesterday", state="ready", slots=2),
    ]
    catalog = load_catalog(DEFAULT_CATALOG)
    found = tiers(catalog, RunnersSeen(runners, {"pro": 7}, {}, {}, 60, 2, 0))
    assert {tier.name for tier in found} == {*(model.tier for model in catalog.models), "of yesterday"}
    by_name = {tier.name: tier for tier in found}
    assert by_name["pro"] == Tier("pro", ready=1, runners=2, slots=4, active=4, queued=7)
    assert by_name["max"] == Tier("max", 0, 0, 0, 0, 0)
    assert by_name["of yesterday"].slots == 2
