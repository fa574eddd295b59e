import random

from services.router.runners.live_runner import LiveRunner
from services.router.warm_prefixes import MOST_RUNNERS, WarmPrefixes
from tests.unit.router.world import record

A, B, C = (LiveRunner(record(name)) for name in "abc")


def names(prefixes: WarmPrefixes, *hashes: int) -> str:
    return "".join(runner.id for runner in prefixes.runners(hashes))


def test_runners_of_the_longest_prefix_come_first_and_each_comes_once() -> None:
    prefixes = WarmPrefixes()
    prefixes.remember([1, 2], A)
    prefixes.remember([1, 3], B)
    prefixes.remember([1], C)
    assert names(prefixes, 1, 2, 4) == "acb"
    assert names(prefixes, 1, 3, 5) == "bca"
    assert names(prefixes, 1) == "cba"
    assert names(prefixes, 6) == names(prefixes) == ""


def test_a_popular_prefix_is_known_of_its_last_few_runners() -> None:
    prefixes = WarmPrefixes()
    for number in range(9):
        prefixes.remember([1], LiveRunner(record(str(number))))
    assert names(prefixes, 1) == "876543210"[:MOST_RUNNERS]


def test_what_is_used_stays_and_the_number_is_bounded() -> None:
    limit = 1000
    prefixes = WarmPrefixes(limit)
    rng = random.Random(5)
    prefixes.remember([1, 2], A)
    prefixes.remember([3, 4], A)
    for round_number in range(10_000):
        prefixes.remember([rng.getrandbits(64), rng.getrandbits(64)], B)
        if round_number % 100 == 0:
            prefixes.remember([1, 2], A)
        assert len(prefixes) <= limit + 2
    assert names(prefixes, 1, 2) == "a"
    assert names(prefixes, 3, 4) == ""
