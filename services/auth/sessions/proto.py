"""Sessions as the contract has them."""

from __future__ import annotations

from services.auth.sessions.session import FoundSession
from tiermesh.auth.v1 import auth_pb2


def to_proto(found: FoundSession) -> auth_pb2.Session:
    """Returns the message of a session."""
    session = found.session
    message = auth_pb2.Session(
        id=session.id,
        account_id=session.account_id,
        account_name=found.account_name,
        key_id=session.key_id,
        label=session.label,
        created_at_ms=session.created_at_ms,
        confirmed_at_ms=session.confirmed_at_ms,
        last_used_at_ms=session.last_used_at_ms,
        expires_at_ms=session.expires_at_ms,
    )
    if found.key is not None:
        message.key_hint, message.key_name = found.key.hint, found.key.name
    return message
