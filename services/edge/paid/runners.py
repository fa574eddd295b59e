"""Connections to runners: one batch stream to each, opened when the router first names it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from services.common.batch import BatchClient
from services.common.batch.frames import MAX_FRAME_BYTES
from services.common.catalog import Model
from services.common.limits.reply_sizes import largest_reply
from services.common.rpc.channels import OpenChannel
from services.common.text_steps import AnyReply, TextStep, unpack
from tiermesh.runner.v1 import runner_pb2, runner_pb2_grpc

RunnerBatch = BatchClient[runner_pb2.GenerateCall, AnyReply]

# A connection that has carried nothing for this many seconds is closed; runners come and go.
IDLE_SECONDS = 60.0


def is_last_reply(reply: AnyReply) -> bool:
    """Tells whether a reply ends its call."""
    return type(reply) is not TextStep and (reply.finish_reason != 0 or reply.HasField("error"))


@dataclass(slots=True)
class _Connection:
    client: RunnerBatch
    used_at: float


class RunnerPool:
    """The runners that this edge talks to, by address.

    `open_channel` makes what opens channels that take messages of so many bytes. `clock` counts seconds and never goes
    back.
    """

    def __init__(self, open_channel: Callable[[int], OpenChannel], clock: Callable[[], float]) -> None:
        self._open_channel = open_channel
        self._clock = clock
        self._connections: dict[tuple[str, int], _Connection] = {}

    def get(self, address: str, model: Model) -> RunnerBatch:
        """Returns the client of the runner at `host:port`, connecting if there is none yet.

        No frame may be larger than replies of this model make it.
        """
        largest = largest_reply(model)
        # Models of one runner may differ in size.
        key = address, largest
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = _Connection(self._connect(address, largest), 0.0)
        connection.used_at = self._clock()
        return connection.client

    async def close_idle(self) -> None:
        """Closes the connections that nothing has used for a while."""
        oldest = self._clock() - IDLE_SECONDS
        idle = [
            key
            for key, connection in self._connections.items()
            if connection.used_at < oldest and connection.client.pending == 0
        ]
        for connection in [self._connections.pop(key) for key in idle]:
            await connection.client.close()

    async def run(self) -> None:
        """Closes idle connections now and then until cancelled."""
        while True:
            await asyncio.sleep(IDLE_SECONDS / 2)
            await self.close_idle()

    async def close(self) -> None:
        """Closes every connection."""
        connections = list(self._connections.values())
        self._connections.clear()
        for connection in connections:
            await connection.client.close()

    def _connect(self, address: str, largest: int) -> RunnerBatch:
        client: RunnerBatch = BatchClient(
            "runner",
            [address],
            # A frame takes no further reply once it has so many bytes.
            open_channel=self._open_channel(MAX_FRAME_BYTES + largest),
            open_stream=lambda channel: runner_pb2_grpc.RunnerServiceStub(channel).Generate(),
            new_frame=runner_pb2.GenerateRequest,
            retry=False,
            is_last=is_last_reply,
            # Calls may hold images or recordings.
            weigh=runner_pb2.GenerateCall.ByteSize,
            unpack=unpack,
            clock=self._clock,
        )
        client.open()
        return client
