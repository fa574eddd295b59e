"""Signs up, signs in and confirms with passkeys, and adds them.

A passkey stands on a key without a secret (docs/decisions/0031-a-passkey-is-a-key-without-a-secret.md).
"""

from __future__ import annotations

import secrets

from services.auth.issuing.issuer import Insert
from services.auth.issuing.key_store import Admission
from services.auth.keys import PASSKEY_HINT, ApiKey
from services.auth.labels import RandomBytes, check_label, new_id
from services.auth.sessions.session import FoundSession
from services.auth.sessions.sessions import Sessions
from services.auth.sign_in.ceremony import (
    Assertion,
    MadeCredential,
    creation_options,
    made_credential,
    read_assertion,
    read_registration,
    request_options,
    signed_counter,
)
from services.auth.sign_in.challenge import Challenge, Challenges, Purpose, RelyingParty
from services.auth.sign_in.enrolment import Enrolment
from services.auth.sign_in.passkey import FoundPasskey, NoteUse, Passkey, PasskeyStore
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import Code, MeshError

# How many passkeys of an account work at the same time.
MOST_PASSKEYS = 50


class Passkeys:
    """Does what passkeys are for. Completing a challenge raises MeshError CONFLICT as `Challenges.take` does."""

    def __init__(
        self,
        store: PasskeyStore,
        challenges: Challenges,
        sessions: Sessions,
        enrolment: Enrolment,
        note_use: NoteUse,
        *,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._challenges = challenges
        self._sessions = sessions
        self._enrolment = enrolment
        self._note_use = note_use
        self._clock = clock
        self._random = random

    async def begin_sign_in(self, relying_party: RelyingParty, browser_token: str) -> str:
        """Returns the options for signing in, as JSON."""
        challenge = await self._challenges.create(Purpose.SIGN_IN, relying_party, browser_token)
        return request_options(challenge, ())

    async def begin_confirmation(self, relying_party: RelyingParty, session_token: str) -> str:
        """Returns the options for showing the passkey of a session once more, as JSON.

        Raises MeshError UNAUTHENTICATED if the session has ended, and PERMISSION_DENIED if no passkey began it.
        """
        key = (await self._sessions.find(session_token)).standing_on
        own = [passkey for passkey in await self.list(key.account_id) if passkey.passkey.key_id == key.id]
        if not own:
            raise MeshError(Code.PERMISSION_DENIED, "You did not sign in with a passkey. Use the key instead.")
        challenge = await self._challenges.create(
            Purpose.CONFIRM, relying_party, session_token, account_id=key.account_id, key_id=key.id
        )
        return request_options(challenge, [each.passkey for each in own])

    async def begin_adding(self, relying_party: RelyingParty, session_token: str) -> str:
        """Returns the options for a further passkey of the account of a session, as JSON.

        Raises MeshError UNAUTHENTICATED if the session has ended, and CONFLICT if there are too many passkeys.
        """
        found = await self._sessions.find(session_token)
        key = found.standing_on
        existing = await self.list(key.account_id)
        if len(existing) >= MOST_PASSKEYS:
            message = f"The account has {MOST_PASSKEYS} passkeys, the most allowed. Remove one first."
            raise MeshError(Code.CONFLICT, message)
        challenge = await self._challenges.create(
            Purpose.ADD, relying_party, session_token, account_id=key.account_id, key_id=key.id
        )
        return creation_options(challenge, found.account_name, [each.passkey for each in existing])

    async def begin_sign_up(self, relying_party: RelyingParty, browser_token: str, account_name: str) -> str:
        """Returns the options for the first passkey of a new account, as JSON; raises MeshError INVALID_REQUEST."""
        check_label(account_name)
        challenge = await self._challenges.create(
            Purpose.SIGN_UP,
            relying_party,
            browser_token,
            account_id=new_id("acct", self._random),
            account_name=account_name,
        )
        return creation_options(challenge, account_name, ())

    async def sign_up(self, browser_token: str, credential_json: str, label: str) -> tuple[str, FoundSession]:
        """Opens an account with its first passkey, begins a session, and returns its token; raises MeshError."""
        check_label(label)
        registration = read_registration(credential_json)
        challenge = await self._challenges.take(Purpose.SIGN_UP, registration.challenge, browser_token)
        made = made_credential(challenge, registration)
        return await self._enrolment.open_account(challenge, PASSKEY_HINT, label, self._insert(made))

    async def add(self, session_token: str, credential_json: str, name: str) -> tuple[FoundPasskey, str]:
        """Adds a passkey to the account of a session, with the rights and the limits of its key.

        Returns it, and the token of a new session if a recovery code began the old one, which ends. Raises MeshError.
        """
        check_label(name)
        found = await self._sessions.find(session_token)
        registration = read_registration(credential_json)
        challenge = await self._challenges.take(Purpose.ADD, registration.challenge, session_token)
        made = made_credential(challenge, registration)
        key, token = await self._enrolment.add(found, challenge, PASSKEY_HINT, name, self._insert(made))
        return FoundPasskey(_passkey(made, key), key), token

    async def sign_in(self, browser_token: str, credential_json: str, label: str) -> tuple[str, FoundSession]:
        """Begins a session by a passkey and returns its token.

        Raises MeshError, PERMISSION_DENIED if the account is suspended or closed.
        """
        check_label(label)
        assertion = read_assertion(credential_json)
        challenge = await self._challenges.take(Purpose.SIGN_IN, assertion.challenge, browser_token)
        key = await self._signed(challenge, assertion)
        return await self._sessions.begin(key.account_id, key.id, label)

    async def confirm(self, session_token: str, credential_json: str) -> FoundSession:
        """Notes that the owner has shown the passkey of a session once more; raises MeshError."""
        found = await self._sessions.find(session_token)
        assertion = read_assertion(credential_json)
        challenge = await self._challenges.take(Purpose.CONFIRM, assertion.challenge, session_token)
        key = await self._signed(challenge, assertion)
        if not key.id == challenge.key_id == found.session.key_id:
            message = "This is not the passkey that you signed in with. Use that one, or sign out and in again."
            raise MeshError(Code.PERMISSION_DENIED, message)
        return await self._sessions.note_confirmed(found)

    async def list(self, account_id: str) -> list[FoundPasskey]:
        """Returns the passkeys of an account that work, oldest first."""
        now_ms = to_ms(self._clock())
        return [
            found
            for found in await self._store.list_passkeys(account_id)
            if found.key is not None and found.key.works(now_ms)
        ]

    async def _signed(self, challenge: Challenge, assertion: Assertion) -> ApiKey:
        """Returns the key of the passkey that has signed; raises MeshError UNAUTHENTICATED or PERMISSION_DENIED."""
        now_ms = to_ms(self._clock())
        found = await self._store.find_passkey(assertion.credential_id)
        if found is None or found.key is None or not found.key.works(now_ms):
            message = "This passkey is not known here, or it was removed. Sign in in another way."
            raise MeshError(Code.UNAUTHENTICATED, message)
        counter = signed_counter(challenge, assertion, found.passkey)
        if not await self._store.advance(found.passkey.key_id, counter):
            message = "This passkey may have been copied: its counter went back. Sign in in another way and remove it."
            raise MeshError(Code.PERMISSION_DENIED, message)
        if found.key.refusal:
            # Only who has signed is told about the account.
            raise MeshError(Code.PERMISSION_DENIED, found.key.refusal)
        self._note_use(found.key.id, now_ms)
        return found.key

    def _insert(self, made: MadeCredential) -> Insert:
        async def insert(key: ApiKey, admission: Admission | None) -> ApiKey:
            return await self._store.insert_passkey(_passkey(made, key), key, admission)

        return insert


def _passkey(made: MadeCredential, key: ApiKey) -> Passkey:
    """Returns what is kept of a credential."""
    return Passkey(key.id, key.account_id, made.credential_id, made.credential, made.counter, made.synced)
