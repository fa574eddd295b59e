"""Signs operators in and out: the cookie that ties a browser to a session of auth."""

from __future__ import annotations

from services.common.rpc.replicas import OperatorReplicas
from services.console.http.browser_sessions import BrowserSessions
from services.console.http.origin import Origin
from services.console.visit import Visit
from tiermesh.auth.v1 import operators_pb2


class OperatorSessions(BrowserSessions):
    """The sessions of operators. Auth keeps them apart from those of owners, and so do browsers."""

    def __init__(self, operators: OperatorReplicas, origin: Origin) -> None:
        super().__init__(origin, "operator-")
        self._operators = operators

    async def get(self, token: str) -> operators_pb2.OperatorSession:
        """Returns the session of a token; raises MeshError UNAUTHENTICATED if it has ended."""
        asked = operators_pb2.GetOperatorSessionRequest(session_token=token)
        return (await self._operators.call(lambda stub: stub.GetOperatorSession, asked)).session

    async def create(self, secret: str, label: str) -> tuple[str, operators_pb2.OperatorSession]:
        """Begins a session by an operator's key and returns its token with it; raises MeshError."""
        asked = operators_pb2.CreateOperatorSessionRequest(operator_key=secret, label=label)
        begun = await self._operators.call(lambda stub: stub.CreateOperatorSession, asked)
        return begun.session_token, begun.session

    async def confirm(self, token: str, secret: str) -> None:
        """Shows the key of a session's operator once more; raises MeshError."""
        asked = operators_pb2.ConfirmOperatorSessionRequest(session_token=token, operator_key=secret)
        await self._operators.call(lambda stub: stub.ConfirmOperatorSession, asked)

    async def end_own(self, visit: Visit) -> None:
        """Ends the session of a visit."""
        asked = operators_pb2.EndOperatorSessionRequest(session_token=visit.cookie)
        await self._operators.call(lambda stub: stub.EndOperatorSession, asked)
