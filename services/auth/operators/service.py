"""The gRPC face of what auth knows of operators: translate, call, translate back."""

# ruff: noqa: D102, N802 - the contract names the methods and documents them.

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import grpc

from services.auth.operators.actions import ActionFilter, ActionRecord, RecordedAction
from services.auth.operators.operator import Operator
from services.auth.operators.operators import Operators
from services.auth.operators.sessions import FoundOperatorSession, OperatorSessions
from services.common.errors import Code, MeshError
from tiermesh.auth.v1 import operators_pb2, operators_pb2_grpc

SERVICE_NAME = operators_pb2.DESCRIPTOR.services_by_name["OperatorService"].full_name

Context = grpc.aio.ServicerContext[Any, Any]


class OperatorService(operators_pb2_grpc.OperatorServiceServicer):
    """Answers every rpc of tiermesh.auth.v1.OperatorService."""

    def __init__(self, operators: Operators, sessions: OperatorSessions, record: ActionRecord) -> None:
        self._operators = operators
        self._sessions = sessions
        self._record = record

    async def CreateOperator(
        self, request: operators_pb2.CreateOperatorRequest, context: Context
    ) -> operators_pb2.CreateOperatorResponse:
        del context
        key, operator = await self._operators.create(request.name)
        return operators_pb2.CreateOperatorResponse(operator_key=key, operator=_operator(operator))

    async def ListOperators(
        self, request: operators_pb2.ListOperatorsRequest, context: Context
    ) -> operators_pb2.ListOperatorsResponse:
        del request, context
        found = await self._operators.list()
        return operators_pb2.ListOperatorsResponse(operators=[_operator(each) for each in found])

    async def RemoveOperator(
        self, request: operators_pb2.RemoveOperatorRequest, context: Context
    ) -> operators_pb2.RemoveOperatorResponse:
        del context
        _check_text(request.operator)
        removed = await self._operators.remove(request.operator)
        return operators_pb2.RemoveOperatorResponse(operator=_operator(removed))

    async def CreateOperatorSession(
        self, request: operators_pb2.CreateOperatorSessionRequest, context: Context
    ) -> operators_pb2.CreateOperatorSessionResponse:
        del context
        token, found = await self._sessions.create(request.operator_key, request.label)
        return operators_pb2.CreateOperatorSessionResponse(session_token=token, session=_session(found))

    async def GetOperatorSession(
        self, request: operators_pb2.GetOperatorSessionRequest, context: Context
    ) -> operators_pb2.GetOperatorSessionResponse:
        del context
        found = await self._sessions.find(request.session_token)
        return operators_pb2.GetOperatorSessionResponse(session=_session(found))

    async def ConfirmOperatorSession(
        self, request: operators_pb2.ConfirmOperatorSessionRequest, context: Context
    ) -> operators_pb2.ConfirmOperatorSessionResponse:
        del context
        found = await self._sessions.confirm(request.session_token, request.operator_key)
        return operators_pb2.ConfirmOperatorSessionResponse(session=_session(found))

    async def EndOperatorSession(
        self, request: operators_pb2.EndOperatorSessionRequest, context: Context
    ) -> operators_pb2.EndOperatorSessionResponse:
        del context
        await self._sessions.end(request.session_token)
        return operators_pb2.EndOperatorSessionResponse()

    async def BeginAction(
        self, request: operators_pb2.BeginActionRequest, context: Context
    ) -> operators_pb2.BeginActionResponse:
        del context
        await self._record.begin(
            request.action_id, request.session_token, request.action, request.subject, request.detail
        )
        return operators_pb2.BeginActionResponse()

    async def BeginCommand(
        self, request: operators_pb2.BeginCommandRequest, context: Context
    ) -> operators_pb2.BeginCommandResponse:
        del context
        await self._record.begin_command(
            request.action_id, request.user, request.action, request.subject, request.detail
        )
        return operators_pb2.BeginCommandResponse()

    async def EndAction(
        self, request: operators_pb2.EndActionRequest, context: Context
    ) -> operators_pb2.EndActionResponse:
        del context
        _check_text(request.action_id)
        await self._record.end(request.action_id, request.outcome, request.message)
        return operators_pb2.EndActionResponse()

    async def ListActions(
        self, request: operators_pb2.ListActionsRequest, context: Context
    ) -> operators_pb2.ListActionsResponse:
        del context
        wanted = ActionFilter(request.operator_name, request.action, request.subject)
        _check_text(*asdict(wanted).values())
        found, token = await self._record.list(wanted, request.page_size, request.page_token)
        return operators_pb2.ListActionsResponse(actions=[_action(each) for each in found], next_page_token=token)


def _check_text(*texts: str) -> None:
    """Raises MeshError NOT_FOUND for what PostgreSQL takes as no text, so that nothing has it as its name."""
    if any("\0" in text for text in texts):
        raise MeshError(Code.NOT_FOUND, "There is nothing with such a name, because it has a character of value 0.")


def _operator(operator: Operator) -> operators_pb2.Operator:
    return operators_pb2.Operator(
        id=operator.id,
        name=operator.name,
        hint=operator.hint,
        created_at_ms=operator.created_at_ms,
        removed_at_ms=operator.removed_at_ms,
    )


def _session(found: FoundOperatorSession) -> operators_pb2.OperatorSession:
    return operators_pb2.OperatorSession(**asdict(found.session), operator_name=found.operator.name)


def _action(recorded: RecordedAction) -> operators_pb2.OperatorAction:
    message = operators_pb2.OperatorAction(**asdict(recorded.action))
    if recorded.outcome is not None:
        message.outcome = recorded.outcome.outcome
        message.message = recorded.outcome.message
        message.ended_at_ms = recorded.outcome.ended_at_ms
    return message
