"""Gives accounts what signs in to them without a key that can be sent: passkeys and wallets alike.

Each stands on a key without a secret (docs/decisions/0031-a-passkey-is-a-key-without-a-secret.md).
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from services.auth.accounts import Account, AccountStore
from services.auth.issuing.issuer import Insert, KeyIssuer
from services.auth.issuing.secretless import beside, first_key
from services.auth.keys import RECOVERY_CODE_HINT, ApiKey
from services.auth.labels import RandomBytes
from services.auth.sessions.session import FoundSession
from services.auth.sessions.sessions import Sessions
from services.auth.sign_in.challenge import Challenge
from services.auth.sign_in.passkey import NoteUse
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import Code, MeshError


class Enrolment:
    """What follows once a challenge was taken and its answer was found to be good. Every method raises MeshError."""

    def __init__(
        self,
        accounts: AccountStore,
        issuer: KeyIssuer,
        sessions: Sessions,
        note_use: NoteUse,
        *,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._accounts = accounts
        self._issuer = issuer
        self._sessions = sessions
        self._note_use = note_use
        self._clock = clock
        self._random = random

    async def open_account(
        self, challenge: Challenge, hint: str, label: str, insert: Insert
    ) -> tuple[str, FoundSession]:
        """Opens the account of a challenge, keeps its first key by `insert`, begins a session, and returns its token.

        What fails in between leaves at most an account that nobody can use.
        """
        now_ms = to_ms(self._clock())
        rate = self._issuer.default_requests_per_minute
        key = first_key(challenge.account_id, hint, rate, now_ms, self._random)
        await self._accounts.insert_account(Account(challenge.account_id, challenge.account_name, now_ms))
        await self._issuer.keep(replace(key, name=label), insert)
        self._note_use(key.id, now_ms)
        return await self._sessions.begin(key.account_id, key.id, label)

    async def add(
        self, found: FoundSession, challenge: Challenge, hint: str, name: str, insert: Insert
    ) -> tuple[ApiKey, str]:
        """Keeps a key with the rights and the limits of that of a session by `insert`.

        Returns it, and the token of a new session if a recovery code began the old one, which ends.
        """
        old = found.standing_on
        if challenge.key_id != old.id:
            raise MeshError(Code.PERMISSION_DENIED, "This was begun in another session. Reload the page and try again.")
        key = await self._issuer.keep(beside(old, hint, name, to_ms(self._clock()), self._random), insert)
        if old.hint != RECOVERY_CODE_HINT:
            return key, ""
        token, _ = await self._sessions.begin(key.account_id, key.id, found.session.label)
        await self._issuer.revoke(old.id, old.account_id)
        return key, token
