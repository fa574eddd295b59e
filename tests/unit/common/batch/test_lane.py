from __future__ import annotations

import asyncio
from typing import NoReturn

from structlog.testing import capture_logs

from services.common.batch.lane import Lane
from tests.support.waiting import eventually
from tiermesh.auth.v1 import auth_pb2


def cannot_open(_address: str) -> NoReturn:
    raise FileNotFoundError(2, "No such file or directory", "tls.crt")


async def test_a_defect_of_who_listens_does_not_end_a_lane() -> None:
    reasons: list[str] = []

    def on_down(reason: str) -> None:
        reasons.append(reason)
        if len(reasons) == 1:
            raise KeyError("a defect")

    lane: Lane[auth_pb2.AuthenticateCall, auth_pb2.AuthenticateReply] = Lane(
        "echo",
        "127.0.0.1:1",
        open_channel=cannot_open,
        open_stream=lambda _: None,
        new_frame=auth_pb2.AuthenticateRequest,
    )
    lane.on_down = on_down
    with capture_logs() as logs:
        running = asyncio.create_task(lane.run())
        await eventually(lambda: len(reasons) == 4)
    running.cancel()
    unreadable = "a certificate file cannot be read: No such file or directory"
    assert reasons == [unreadable, "KeyError", unreadable, unreadable]
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["batch_stream_failed"]
