from __future__ import annotations

from typing import NoReturn

from structlog.testing import capture_logs

from services.router.runners.live_runner import LiveRunner
from services.router.runners.load import Report
from services.router.runners.status import RunnerStatusStreams
from tests.support.waiting import eventually
from tests.unit.router.world import record


def cannot_open(_address: str) -> NoReturn:
    raise FileNotFoundError(2, "No such file or directory", "tls.crt")


class Listener:
    """Fails when it hears of the first loss."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def report(self, runner: LiveRunner, report: Report) -> None:
        raise AssertionError("no stream was opened")

    def lost(self, runner: LiveRunner, reason: str) -> None:
        self.reasons.append(reason)
        if len(self.reasons) == 1:
            raise KeyError("a defect")


async def test_a_defect_of_who_listens_does_not_end_the_attempts() -> None:
    streams, listener = RunnerStatusStreams(cannot_open, random=lambda: 0.0), Listener()
    streams.listen(listener)
    with capture_logs() as logs:
        streams.open(LiveRunner(record("a", "small")), 0.0)
        await eventually(lambda: len(listener.reasons) == 3)
        await streams.close_all()
    assert set(listener.reasons) == {"a certificate file cannot be read: No such file or directory"}
    assert [entry["event"] for entry in logs] == ["status_stream_failed"]
