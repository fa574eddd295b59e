"""Recovery codes: text that a person prints, for the day on which every passkey and every key is lost.

A code is 25 characters with 125 random bits, so a digest without a slow hash keeps it, as for API keys. It is good
once: its session is short, and serves to add a passkey or to get a key. An account has one code.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Protocol

from services.auth.issuing.issuer import KeyIssuer
from services.auth.issuing.key_store import Admission
from services.auth.issuing.secretless import beside
from services.auth.keys import RECOVERY_CODE_HINT, ApiKey
from services.auth.labels import RandomBytes, check_label
from services.auth.sessions.session import FoundSession
from services.auth.sessions.sessions import Sessions
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import Code, MeshError

# Digits and letters without those that look alike (Crockford's base 32), each for five bits.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOOK_ALIKE = str.maketrans("OIL", "011", " -")
_GROUPS, _GROUP_LENGTH = 5, 5
_LENGTH = _GROUPS * _GROUP_LENGTH
# Nothing longer can be a code, so nothing longer is looked at.
_MAX_TEXT = 100
# How long the session of a code lasts, in seconds.
SESSION_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """What is kept of a code."""

    account_id: str
    digest: bytes
    key_id: str
    created_at_ms: int


class RecoveryCodeStore(Protocol):
    """Where codes are kept. Every method raises MeshError UNAVAILABLE while that cannot be reached."""

    async def replace_recovery_code(self, code: RecoveryCode, key: ApiKey, admission: Admission | None) -> ApiKey:
        """Keeps the code of an account in place of the one before, with its key; returns the key."""

    async def find_recovery_code(self, account_id: str, now_ms: int) -> RecoveryCode | None:
        """Returns the code of an account; None if there is none, or if its key does not work any more."""

    async def take_recovery_code(self, digest: bytes) -> RecoveryCode | None:
        """Returns the code with this digest and forgets it; None if there is none.

        Raises MeshError PERMISSION_DENIED for a code of a suspended or closed account, which is kept.
        """


class RecoveryCodes:
    """Makes codes, and signs in with them."""

    def __init__(
        self,
        store: RecoveryCodeStore,
        issuer: KeyIssuer,
        sessions: Sessions,
        *,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._sessions = sessions
        self._clock = clock
        self._random = random

    async def create(self, session_token: str) -> str:
        """Makes the code of the account of a session, and returns it; nobody can ask for it again.

        Raises MeshError UNAUTHENTICATED if the session has ended, and as `beside` and `KeyIssuer.keep` do.
        """
        found = await self._sessions.find(session_token)
        now_ms = to_ms(self._clock())
        key = beside(found.standing_on, RECOVERY_CODE_HINT, "", now_ms, self._random)
        text = new_code(self._random)
        before = await self._store.find_recovery_code(key.account_id, now_ms)
        code = RecoveryCode(key.account_id, _digest(text), key.id, now_ms)
        await self._issuer.keep(key, lambda kept, admission: self._store.replace_recovery_code(code, kept, admission))
        if before is not None:
            await self._issuer.revoke(before.key_id, before.account_id)
        return text

    async def created_at_ms(self, account_id: str) -> int:
        """Returns when the code of an account was made; 0 if there is none that works."""
        code = await self._store.find_recovery_code(account_id, to_ms(self._clock()))
        return 0 if code is None else code.created_at_ms

    async def sign_in(self, text: str, label: str) -> tuple[str, FoundSession]:
        """Begins a short session by a code, which is used up; returns its token.

        Raises MeshError UNAUTHENTICATED, and PERMISSION_DENIED for a code of a suspended or closed account, which is
        kept.
        """
        check_label(label)
        code = await self._store.take_recovery_code(_digest(text)) if len(text) <= _MAX_TEXT else None
        if code is not None:
            try:
                return await self._sessions.begin(code.account_id, code.key_id, label, lifetime=SESSION_SECONDS)
            except MeshError as error:
                if error.code is not Code.UNAUTHENTICATED:
                    raise
        raise MeshError(Code.UNAUTHENTICATED, "This is not a recovery code that works. Each code works once.")


def new_code(random: RandomBytes = secrets.token_bytes) -> str:
    """Returns a new code, such as `4F7QK-…`, in groups that are easy to copy."""
    number = int.from_bytes(random(16), "big")
    characters = "".join(_ALPHABET[number >> 5 * place & 31] for place in range(_LENGTH))
    return "-".join(characters[start : start + _GROUP_LENGTH] for start in range(0, _LENGTH, _GROUP_LENGTH))


def _digest(text: str) -> bytes:
    """Returns what is stored and looked up in place of a code, however it is spelled."""
    return hashlib.sha256(text.upper().translate(_LOOK_ALIKE).encode()).digest()
