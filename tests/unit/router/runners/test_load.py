import random

import pytest

from services.router.runners.load import FIRST_SLOTS, FULL_LIFE, PLACEMENT_LIFE, Load, Report


def report(active: int, admitted: int) -> Report:
    return Report(slots=2, active=active, admitted=admitted)


def test_placements_count_until_a_status_has_counted_them() -> None:
    load = Load(2)
    load.restart(report(active=0, admitted=100))
    load.place(now=1.0)
    load.place(now=1.0)
    assert load.current(now=1.0) == 2
    # This status was under way before the first placement arrived.
    load.report(report(active=0, admitted=100))
    assert load.current(now=1.0) == 2
    load.report(report(active=1, admitted=101))
    assert load.current(now=1.0) == 2
    load.report(report(active=2, admitted=102))
    assert load.current(now=1.0) == 2
    load.report(report(active=1, admitted=102))
    assert load.current(now=1.0) == 1


def test_the_engines_figures_are_those_of_the_last_status() -> None:
    load = Load(4)
    load.report(Report(slots=4, active=1, admitted=1, pages_free=7, tokens_per_second=12.5))
    assert (load.pages_free, load.tokens_per_second) == (7, 12.5)
    load.report(report(0, 1))
    assert (load.pages_free, load.tokens_per_second) == (0, 0.0)


def test_requests_that_others_placed_do_not_make_the_load_negative() -> None:
    load = Load(2)
    load.restart(report(active=0, admitted=0))
    load.place(now=1.0)
    load.report(report(active=2, admitted=50))
    assert load.current(now=1.0) == 2


def test_a_placement_that_never_arrives_is_forgotten() -> None:
    load = Load(1)
    load.place(now=1.0)
    assert not load.has_room(now=1.0 + PLACEMENT_LIFE * 0.9)
    assert load.has_room(now=1.0 + PLACEMENT_LIFE)


@pytest.mark.parametrize("seed", range(5))
def test_placements_that_never_arrive_are_forgotten_although_others_arrive_all_the_time(seed: int) -> None:
    chance = random.Random(seed)
    load, rate, lost_share, transit, interval, seconds = Load(10_000), 500, 0.1, 0.01, 0.02, 30.0
    load.restart(Report(slots=10_000, active=0, admitted=0))
    arrivals: list[float] = []
    lost: list[float] = []
    now = reported = 0.0
    admitted = 0
    while now < seconds:
        now += chance.expovariate(rate)
        load.place(now)
        if chance.random() < lost_share:
            lost.append(now)
        else:
            arrivals.append(now + chance.uniform(0, 2 * transit))
        if now >= reported + interval:
            reported = now
            admitted += sum(moment <= now for moment in arrivals)
            arrivals = [moment for moment in arrivals if moment > now]
            load.report(Report(slots=10_000, active=0, admitted=admitted))
        newly_lost = sum(moment > now - 2 * PLACEMENT_LIFE - interval for moment in lost)
        assert load.current(now) <= len(arrivals) + newly_lost + rate * (interval + 2 * transit) + 10
    # Those that are on their way are not forgotten with the others.
    assert load.current(now) >= len(arrivals)


def test_a_restarted_runner_counts_from_its_own_beginning() -> None:
    load = Load(2)
    load.restart(report(active=2, admitted=500))
    load.place(now=1.0)
    load.restart(report(active=0, admitted=0))
    assert load.current(now=1.0) == 0
    load.place(now=1.0)
    load.report(report(active=1, admitted=1))
    assert load.current(now=1.0) == 1


def test_a_refusal_makes_it_full_until_the_next_status_or_a_short_time() -> None:
    load = Load(2)
    load.place(now=1.0)
    load.refuse(now=1.1)
    assert load.current(now=1.1) == 0
    assert not load.has_room(now=1.1)
    assert load.has_room(now=1.1 + FULL_LIFE)
    load.refuse(now=2.0)
    load.report(report(active=1, admitted=0))
    assert load.has_room(now=2.0)


def test_a_placement_that_is_given_back_counts_no_more() -> None:
    load = Load(1)
    load.give_back()
    load.place(now=1.0)
    assert not load.has_room(now=1.0)
    load.give_back()
    assert load.has_room(now=1.0)
    load.place(now=1.5)
    # It is not forgotten once more.
    assert load.current(now=1.5) == 1
    assert load.current(now=1.5 + PLACEMENT_LIFE) == 0


def test_advertised_slots_are_believed_up_to_a_bound() -> None:
    load = Load(1_000_000, most_slots=100)
    assert (load.slots, load.proven_slots) == (100, FIRST_SLOTS)
    load.report(Report(slots=1_000_000, active=0, admitted=20))
    assert (load.slots, load.proven_slots) == (100, 40)
    load.report(Report(slots=1_000_000, active=0, admitted=10_000))
    assert (load.slots, load.proven_slots) == (100, 100)
