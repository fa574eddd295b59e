"""Closes an account on behalf of its owner. Nothing of it gets in any more, until an operator reopens it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from services.auth.accounts import Account
from services.auth.issuing.rights import check_may_close
from services.auth.keys import ApiKey
from services.auth.labels import RandomBytes, new_id
from services.auth.operators.actions import Action
from services.auth.sessions.sessions import Sessions
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import Code, MeshError

CLOSE_ACCOUNT = "close_account"
# Who did it, in the record of operators. The ID of an operator is empty there, so that it is none of them.
OWNER = "the owner"
# Gets every key of the account, and raises MeshError if it must not be closed.
Permission = Callable[[Sequence[ApiKey]], None]


class ClosingStore(Protocol):
    """Where accounts, sessions and the record are kept."""

    async def close_account(self, action: Action, permission: Permission) -> tuple[Account, list[ApiKey]]:
        """Closes the account that is the subject of an action, ends its sessions and records that: all or nothing.

        Returns the account with all its keys. What `permission` sees cannot change before the transaction ends.
        """


class Closing:
    """Closes accounts. `tell` takes in a changed key, for the very next verification."""

    def __init__(
        self,
        store: ClosingStore,
        sessions: Sessions,
        tell: Callable[[ApiKey], None],
        *,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._tell = tell
        self._clock = clock
        self._random = random

    async def close(self, session_token: str) -> Account:
        """Closes the account of a session.

        Raises MeshError UNAUTHENTICATED if the session has ended, and PERMISSION_DENIED if the key that signed in could
        not revoke every key of the account itself.
        """
        session = (await self._sessions.find(session_token)).session
        now_ms = to_ms(self._clock())

        def permission(keys: Sequence[ApiKey]) -> None:
            closer = next((key for key in keys if key.id == session.key_id), None)
            if closer is None or closer.refusal or not closer.works(now_ms):
                raise MeshError(Code.UNAUTHENTICATED, "The session has ended. Sign in again.")
            check_may_close(closer, keys, now_ms)

        action = Action(
            id=new_id("act", self._random),
            at_ms=now_ms,
            operator_id="",
            operator_name=OWNER,
            action=CLOSE_ACCOUNT,
            subject=session.account_id,
            detail=f"Signed in with {session.key_id}.",
        )
        account, keys = await self._store.close_account(action, permission)
        for key in keys:
            self._tell(key)
        return account
