"""What operators do is recorded before it is done. There is no other way for a page to do it.

Whatever is not recorded is not done. An outcome that cannot be recorded stays unknown: the action has taken place.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.common.errors import Code, MeshError
from services.common.rpc.replicas import OperatorReplicas
from services.common.telemetry.logs import get_logger
from services.console.freshness import Freshness
from services.console.metrics import OPERATOR_ACTIONS
from services.console.visit import Visit
from tiermesh.auth.v1 import operators_pb2

log = get_logger()

# After these, nobody knows what the other service has done.
_UNKNOWN = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.INTERNAL}


@dataclass
class Act:
    """An action that has begun; `message` is recorded with its outcome."""

    message: str = ""


class Actions:
    """Lets operators act whose key was shown a short time ago, and records what they do."""

    def __init__(self, operators: OperatorReplicas, freshness: Freshness) -> None:
        self._operators = operators
        self._freshness = freshness

    @asynccontextmanager
    async def recorded(
        self, visit: Visit, action: str, subject: str = "", detail: str = "", *, page: str
    ) -> AsyncIterator[Act]:
        """Records what the block does, and then what became of it.

        Raises HTTPSeeOther to the page that asks for the key, from which the way goes on to `page`, and MeshError if
        nothing can be recorded: the block then does not begin.
        """
        self._freshness.demand(visit, page)
        action_id = f"act_{secrets.token_hex(12)}"
        begin = operators_pb2.BeginActionRequest(
            action_id=action_id, session_token=visit.cookie, action=action, subject=subject, detail=detail
        )
        await self._operators.call(lambda stub: stub.BeginAction, begin)
        act, outcome = Act(), "unknown"
        try:
            yield act
            outcome = "done"
        except MeshError as error:
            act.message = error.message
            if error.code not in _UNKNOWN:
                outcome = "refused"
            raise
        finally:
            OPERATOR_ACTIONS.labels(action, outcome).inc()
            await self._end(action_id, outcome, act.message)

    async def _end(self, action_id: str, outcome: str, message: str) -> None:
        end = operators_pb2.EndActionRequest(action_id=action_id, outcome=outcome, message=message)
        try:
            await self._operators.call(lambda stub: stub.EndAction, end)
        except MeshError as error:
            log.warning("outcome_not_recorded", action=action_id, outcome=outcome, reason=error.message)
