from __future__ import annotations

import pytest

from services.common.batch.lateness import Lateness


class Ends:
    """The two ends of a stream, whose clocks have nothing in common."""

    def __init__(self, client: float, server: float) -> None:
        self.client = client
        self.server = server
        self._lateness = Lateness(lambda: self.server)

    def send(self, delay: float, *, drift: float = 0.0) -> float:
        """Sends a frame that is read after `delay` seconds; returns how late it is said to be."""
        sent_ms = int(self.client * 1000)
        self.client += delay
        self.server += delay * (1 + drift)
        return self._lateness.of(sent_ms)

    def wait(self, seconds: float, *, drift: float = 0.0) -> None:
        self.client += seconds
        self.server += seconds * (1 + drift)


@pytest.fixture(params=[(5.0, 1_000_000.0), (1_000_000.0, 5.0)])
def ends(request: pytest.FixtureRequest) -> Ends:
    return Ends(*request.param)


def test_what_is_read_as_promptly_as_ever_is_not_late(ends: Ends) -> None:
    for _ in range(10):
        assert ends.send(0.02) == pytest.approx(0.0, abs=0.002)
        ends.wait(1.0)


def test_a_stall_shows_in_the_frames_that_waited_through_it(ends: Ends) -> None:
    ends.send(0.001)
    ends.wait(10.0)
    assert ends.send(7.0) == pytest.approx(7.0, abs=0.05)
    assert ends.send(0.001) == pytest.approx(0.0, abs=0.05)


def test_a_first_frame_that_was_slow_is_forgotten(ends: Ends) -> None:
    ends.send(2.0)
    assert ends.send(0.0) == pytest.approx(0.0, abs=0.002)
    assert ends.send(1.0) == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("drift", [-0.0005, 0.0005])
def test_clocks_that_run_apart_are_no_delay(ends: Ends, drift: float) -> None:
    for _ in range(24):
        ends.wait(3_600.0, drift=drift)
        assert ends.send(0.001) == pytest.approx(0.0, abs=0.01)


def test_a_frame_that_does_not_say_when_it_was_sent_is_prompt(ends: Ends) -> None:
    ends.send(0.001)
    assert Lateness(lambda: ends.server).of(0) == 0.0
