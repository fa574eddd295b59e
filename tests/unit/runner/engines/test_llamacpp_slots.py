"""No job is given what another account has sent, in whichever order jobs come, begin, end and are cancelled."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runner.engines.llamacpp.run import Run
from services.runner.engines.llamacpp.slots import Place, Slots
from services.runner.kinds.text.job import Job, Sampling


def job(scope: str, prompt: str = "prompt") -> Job:
    return Job("request", prompt, Sampling(), cache_scope=scope)


class Running:
    """Jobs in slots, as the engine keeps them."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.running: dict[Run, tuple[Place, Job]] = {}

    def start(self, asked: Job) -> tuple[Place, Run]:
        place = self._slots.place(asked, self.running)
        run = cast("Run", object())
        self._slots.take(place, run)
        self.running[run] = place, asked
        return place, run

    def begin(self, run: Run) -> None:
        place, asked = self.running[run]
        self._slots.begun(place, run, asked)

    def serve(self, asked: Job) -> Place:
        place, run = self.start(asked)
        self.begin(run)
        del self.running[run]
        return place


@pytest.fixture
def served() -> Running:
    running = Running(Slots(2))
    # From here on, there are several accounts.
    running.serve(job("first"))
    running.serve(job("second"))
    return running


def test_llamacpp_chooses_while_there_is_one_account() -> None:
    served = Running(Slots(2))
    for _ in range(3):
        assert served.serve(job("one")).fields() == {"id_slot": -1, "cache_prompt": True}
    place = served.serve(job("other")).fields()
    assert (place["id_slot"] >= 0, place["cache_prompt"]) == (True, False)
    assert served.serve(job("one")).fields()["id_slot"] >= 0


def test_a_prompt_comes_to_the_slot_that_begins_like_it(served: Running) -> None:
    first = served.serve(job("one", "a" * 100))
    other = served.serve(job("one", "b" * 100))
    assert first.slot is not other.slot
    for prompt, place in (("b" * 90 + "c", other), ("a" * 200, first), ("b" * 91, other)):
        again = served.serve(job("one", prompt))
        assert (again.slot, again.cached) == (place.slot, True)
    assert not served.serve(job("other", "a" * 200)).cached


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["serve", "start", "cancel", "begin"])), max_size=40))
def test_nothing_of_others_is_used(actions: list[tuple[str, str]]) -> None:
    served = Running(Slots(3))
    served.serve(job("first"))
    # Whose prompt each slot really has: what was there stays until llama.cpp has begun.
    holds: dict[Any, str] = {}
    for scope, action in actions:
        if action == "begin":
            for run, (place, asked) in served.running.items():
                served.begin(run)
                holds[place.slot] = asked.cache_scope
        elif action == "cancel":
            served.running.clear()
        elif len(served.running) < 3:
            asked = job(scope)
            place, run = served.start(asked)
            assert place.slot is not None
            assert [other.slot for other, _ in served.running.values()].count(place.slot) == 1
            assert not place.cached or holds.get(place.slot) == scope
            if action == "serve":
                served.begin(run)
                holds[place.slot] = scope
                del served.running[run]
