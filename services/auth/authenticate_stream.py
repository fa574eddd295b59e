"""The gRPC face of the hot path: every call is answered in the turn of the event loop that brought it."""

from __future__ import annotations

from collections.abc import Sequence

from services.auth.authentication import Authenticator
from services.auth.metrics import AUTHENTICATIONS
from services.common.batch import BatchServer, Session
from services.common.errors import MeshError
from tiermesh.auth.v1 import auth_pb2

AuthenticateServer = BatchServer[auth_pb2.AuthenticateCall, auth_pb2.AuthenticateReply]
AuthenticateSession = Session[auth_pb2.AuthenticateReply]

_ALLOWED = AUTHENTICATIONS.labels("allowed")
_UNAUTHENTICATED = AUTHENTICATIONS.labels("unauthenticated")
_RATE_LIMITED = AUTHENTICATIONS.labels("rate_limited")


class AuthenticateHandler:
    """Answers the frames of the Authenticate stream."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def on_calls(self, calls: Sequence[auth_pb2.AuthenticateCall], session: AuthenticateSession) -> None:
        """Answers every call of one frame."""
        unauthenticated = rate_limited = 0
        for call in calls:
            reply = auth_pb2.AuthenticateReply(id=call.id)
            try:
                if not self._answer(call.api_key, reply):
                    rate_limited += 1
            except MeshError as error:
                unauthenticated += 1
                reply.error.CopyFrom(error.to_proto())
            session.reply(reply)
        # Counting takes a lock, so it is done once a frame.
        _UNAUTHENTICATED.inc(unauthenticated)
        _RATE_LIMITED.inc(rate_limited)
        _ALLOWED.inc(len(calls) - unauthenticated - rate_limited)

    def on_cancel(self, call_id: int, session: AuthenticateSession) -> None:
        """Does nothing: whatever is cancelled has been answered already."""

    def on_close(self, session: AuthenticateSession) -> None:
        """Does nothing: no call outlives its frame."""

    def _answer(self, secret: str, reply: auth_pb2.AuthenticateReply) -> bool:
        """Fills in the reply and returns whether the rate limit allows the request."""
        credential, state = self._authenticator.authenticate(secret)
        limit = reply.rate_limit
        limit.limit, limit.remaining, limit.reset_ms = state.limit, state.remaining, state.reset_ms
        if not state.allowed:
            reply.error.CopyFrom(state.refusal().to_proto())
            return False
        reply.key_id = credential.key_id
        reply.account_id = credential.account_id
        return True


def authenticate_server(authenticator: Authenticator) -> AuthenticateServer:
    """Returns the batch server of the Authenticate rpc."""
    return BatchServer(
        "auth.authenticate",
        AuthenticateHandler(authenticator),
        new_frame=auth_pb2.AuthenticateResponse,
        new_reply=auth_pb2.AuthenticateReply,
    )
