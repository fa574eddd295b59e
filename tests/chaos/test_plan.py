"""What a plan draws: the same for the same seed, and never so much at a time that a run would show nothing."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import pytest

from tests.chaos.faults.fault import RUNNERS, UPSTREAMS, Kind, role
from tests.chaos.pace import slowness
from tests.chaos.plan import FULL_FAULTS, FULL_REQUESTS, Floor, Plan, make_plan, with_upstream

SERVERS = pytest.mark.parametrize("server", [False, True])


@functools.cache
def full_plans(server: bool) -> tuple[Plan, ...]:
    sizes = {"requests": FULL_REQUESTS, "faults": FULL_FAULTS}
    return tuple(make_plan(seed, **sizes, database_server=server) for seed in range(100))


@SERVERS
def test_a_seed_gives_the_same_plan_again(server: bool) -> None:
    first, again, other = (make_plan(s, requests=300, faults=12, database_server=server) for s in (7, 7, 8))
    assert first == again
    assert first.requests != other.requests
    assert first.faults != other.faults
    assert len(first.faults) == 12


@SERVERS
def test_every_full_plan_hurts_runners_edges_and_stores(server: bool) -> None:
    expected = {
        *((Kind.KILL, runner) for runner in RUNNERS),
        *((kind, "edge-1") for kind in (Kind.KILL, Kind.DRAIN)),
        *((kind, "billing-1") for kind in (Kind.KILL, Kind.FREEZE)),
        (Kind.KILL, "database") if server else (Kind.FULL, "billing-1"),
    }
    for plan in full_plans(server):
        assert expected <= {(fault.kind, fault.target) for fault in plan.faults}
        assert {fault.kind for fault in plan.faults if role(fault.target) == "runner"} >= {
            Kind.FREEZE,
            Kind.LATE_REPLIES,
        }


@SERVERS
def test_all_plans_together_do_everything_to_every_process(server: bool) -> None:
    faults = {(fault.kind, fault.target) for plan in full_plans(server) for fault in plan.faults}
    for process in ("edge-1", "auth-1", "billing-1", "router-2", "etcd"):
        assert faults >= {(kind, process) for kind in (Kind.KILL, Kind.FREEZE)}
    assert {kind for kind, _ in faults} == set(Kind)


@SERVERS
def test_two_runners_never_stall_at_the_same_time(server: bool) -> None:
    for plan in full_plans(server):
        stalls = [fault for fault in plan.faults if fault.stalled_runner]
        assert all(first.at + first.seconds < second.at for first, second in itertools.pairwise(stalls))


@SERVERS
def test_an_edge_dies_while_there_is_time_for_its_holds_to_expire(server: bool) -> None:
    for plan in full_plans(server):
        died = [fault.at for fault in plan.faults if (fault.kind, fault.target) == (Kind.KILL, "edge-1")]
        assert max(died) < 0.6 * plan.requests[-1].at


def test_a_plan_with_servers_hurts_each_of_them_and_changes_nothing_else() -> None:
    plan = full_plans(False)[0]
    wider = with_upstream(plan)
    assert [replace(each, upstream=False) for each in wider.requests] == [*plan.requests]
    assert 0.3 < sum(each.upstream for each in wider.requests) / len(wider.requests) < 0.5
    assert {*plan.faults} < {*wider.faults}
    hurt = {(fault.kind, fault.target) for fault in wider.faults} - {(f.kind, f.target) for f in plan.faults}
    assert {(kind, server) for kind in (Kind.KILL, Kind.FREEZE) for server in UPSTREAMS} <= hurt


def test_a_slower_plan_has_the_same_faults_at_the_same_requests() -> None:
    plan = make_plan(3, requests=100, faults=8, database_server=False)
    slow = plan.slowed(2.0)
    assert slow.slowness == 2.0
    assert [(fault.at, fault.seconds) for fault in slow.faults] == [(2 * f.at, 2 * f.seconds) for f in plan.faults]
    assert [request.at for request in slow.requests] == [2 * request.at for request in plan.requests]


def test_the_pace_follows_what_starting_processes_takes() -> None:
    assert slowness(0.1) == 1.0
    assert slowness(4.0) == 2 * slowness(2.0) > 2.0
    assert slowness(1000.0) == slowness(2000.0)


def test_a_run_below_one_of_its_floors_proves_nothing() -> None:
    floor = Floor(completed=0.6, resumed=50)
    assert floor.is_reached(0.6, 50)
    assert not floor.is_reached(0.59, 500)
    assert not floor.is_reached(1.0, 49)
