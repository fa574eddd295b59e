"""People who have signed in with a recovery code: they add a passkey or get a key, and do nothing else."""

from __future__ import annotations

from services.console.sign_in.hints import RECOVERY_CODE_HINT
from services.console.visit import Visit
from tiermesh.auth.v1 import auth_pb2

# The one page that they see.
NEW_WAY_IN = "/new-way-in"


def is_recovering(visit: Visit) -> bool:
    """Tells whether a recovery code has begun the session, which that of an operator never is."""
    return isinstance(visit.session, auth_pb2.Session) and visit.session.key_hint == RECOVERY_CODE_HINT
