"""Has runners count the tokens of prompts. Nothing is held or charged, and no slot is taken."""

from __future__ import annotations

import asyncio
from functools import partial

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.telemetry.tracing import context_of, step
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.paid.path import Mesh, PaidPath
from services.edge.paid.prefix_hashes import cache_scope
from services.edge.paid.routing import Assignment
from services.edge.paid.runners import is_last_reply
from tiermesh.router.v1 import router_pb2
from tiermesh.runner.v1 import runner_pb2

# How long a count may take, in seconds: it waits for its turn at a runner.
TIMEOUT = 30.0
# So many runners may fail a count before the client gets the error.
_MOST_FAILURES = 3
_Reply = runner_pb2.GenerateReply


class TokenCounter:
    """Counts for the requests of one edge."""

    def __init__(self, mesh: Mesh, path: PaidPath) -> None:
        self._mesh = mesh
        self._cut_off = path.cut_off

    async def count(
        self,
        call: runner_pb2.GenerateCall,
        model: Model,
        principal: Principal,
        context: RequestContext,
        capabilities: tuple[str, ...] = (),
    ) -> runner_pb2.TokenCount:
        """Returns the tokens of the prompt of a call, whose `token_count` says what is wanted beside their number.

        Raises MeshError UNAVAILABLE at once if no runner serves the model.
        """
        context.model = model.id
        call.token_count.SetInParent()
        call.cache_scope = cache_scope(principal.account_id)
        # A runner of an earlier version would answer.
        call.max_tokens, call.whole = 1, True
        deadline = asyncio.get_running_loop().time() + TIMEOUT
        attempts: list[router_pb2.Attempt] = []
        with self._cut_off.while_waiting():
            while True:
                assignment = await self._place(model, principal, context, deadline, attempts, capabilities)
                try:
                    return await self._ask(assignment, call, model, context, deadline)
                except MeshError as error:
                    if error.code is not Code.UNAVAILABLE or len(attempts) == _MOST_FAILURES:
                        raise
                attempts.append(
                    router_pb2.Attempt(runner_id=assignment.runner_id, result=router_pb2.Attempt.RESULT_FAILED)
                )

    async def _place(
        self,
        model: Model,
        principal: Principal,
        context: RequestContext,
        deadline: float,
        attempts: list[router_pb2.Attempt],
        capabilities: tuple[str, ...],
    ) -> Assignment:
        context.placing = True
        with step(context.trace, "place") as span:
            assignment = await self._mesh.placer.place(
                model,
                principal.account_id,
                _left(deadline),
                attempts=attempts,
                capabilities=capabilities,
                slotless=True,
                request_id=context.request_id,
                trace=context_of(span),
            )
        context.placing = False
        return assignment

    async def _ask(
        self,
        assignment: Assignment,
        call: runner_pb2.GenerateCall,
        model: Model,
        context: RequestContext,
        deadline: float,
    ) -> runner_pb2.TokenCount:
        client = self._mesh.runners.get(assignment.address, model)
        ended: asyncio.Future[_Reply | MeshError] = asyncio.get_running_loop().create_future()
        with step(context.trace, "count") as span:
            if span is not None:
                call.trace.CopyFrom(span.context())
            call_id = client.start(call, partial(_note_end, ended), _left(deadline))
            try:
                reply = await ended
            finally:
                client.cancel(call_id)
        if isinstance(reply, MeshError):
            raise reply
        if reply.HasField("error"):
            raise MeshError.from_proto(reply.error)
        if not reply.HasField("token_count"):
            message = "The runner of this model cannot count tokens yet. Try again later."
            raise MeshError(Code.OVERLOADED, message, retry_after=5.0)
        return reply.token_count


def _note_end(ended: asyncio.Future[_Reply | MeshError], reply: _Reply | MeshError) -> None:
    if not ended.done() and (isinstance(reply, MeshError) or is_last_reply(reply)):
        ended.set_result(reply)


def _left(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())
