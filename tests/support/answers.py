"""What a client puts together from the replies to one call, with the runner's own writer over an engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

from services.common.errors import MeshError
from services.common.text_steps import AnyReply
from services.runner.kinds.text.engine import TextEngine, TextTicket
from services.runner.kinds.text.job import Job, Step
from services.runner.kinds.text.prompt.parser import OutputParser
from services.runner.kinds.text.reader import Request
from services.runner.kinds.text.writer import ReplyWriter
from tests.support.deadlines import within
from tiermesh.runner.v1 import runner_pb2


@dataclass
class Answer:
    """What has come so far."""

    content: str = ""
    reasoning: str = ""
    # Name and arguments of each call.
    calls: list[tuple[str, str]] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: bytes = b""
    # 0 until the last reply.
    finish: int = 0
    # The stop string that ended it, if one did.
    stop: str = ""
    usage: runner_pb2.Usage = field(default_factory=runner_pb2.Usage)

    def add(self, reply: AnyReply) -> None:
        """Takes the next reply; a copy made before stays as it was."""
        assert not self.finish
        if reply.HasField("error"):
            raise MeshError.from_proto(reply.error)
        self.content += reply.text
        self.reasoning += reply.reasoning
        for delta in reply.tool_calls:
            begun = [*self.calls, (delta.name, "")] if delta.id else self.calls
            name, arguments = begun[-1]
            self.calls = [*begun[:-1], (name, arguments + delta.arguments)]
        self.token_ids = [*self.token_ids, *reply.token_ids]
        self.logprobs += b"".join(entry.token_bytes for entry in reply.logprobs)
        self.finish, self.stop, self.usage = reply.finish_reason, reply.stop, reply.usage


async def answer(
    engine: TextEngine, job: Job, *stop: str, whole: bool = False, parsed: bool = False, timeout: float = 60.0
) -> Answer:
    """Runs a job to its end; `parsed` says whether thoughts and calls in the form of Hermes are read."""
    parser = OutputParser(calls=True, reasoning=True, new_id=lambda: "call") if parsed else None
    writer = ReplyWriter(1, Request(job, parser, whole, stop))
    replies: asyncio.Queue[AnyReply] = asyncio.Queue()

    def emit(step: Step | MeshError) -> None:
        reply = writer.write(step)
        if reply is not None:
            replies.put_nowait(reply)

    writer.begin(cast("TextTicket", engine.submit(job, emit)))
    result = Answer()
    async with within(timeout):
        while not result.finish:
            result.add(await replies.get())
    return result
