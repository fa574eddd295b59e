"""Passkeys and recovery codes on a real store, with a clock that only the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.auth.accounts import Account, Accounts
from services.auth.issuing.bounds import KeyBounds
from services.auth.issuing.issuer import KeyIssuer
from services.auth.issuing.rights import Wish
from services.auth.key_cache import Credential, KeyCache
from services.auth.keys import ApiKey
from services.auth.sessions.session_keys import KeyTerms, SessionKeys
from services.auth.sessions.sessions import SessionLimits, Sessions
from services.auth.sign_in.challenge import Challenges, RelyingParty
from services.auth.sign_in.enrolment import Enrolment
from services.auth.sign_in.passkeys import Passkeys
from services.auth.sign_in.recovery_code import RecoveryCodes
from services.auth.sign_in.wallets import Wallets
from services.auth.store.session_keys import SessionKeyStore
from services.auth.store.sessions import SessionStore
from services.auth.store.sign_in_methods import SignInMethodStore
from services.auth.store.store import MIGRATIONS, AuthStore
from services.common.catalog import load_catalog
from services.common.clock import to_ms
from services.common.database.base import Database
from services.common.database.migrations import migrate
from services.common.errors import Code, MeshError
from services.common.settings import DEFAULT_CATALOG
from tests.support.authenticator import Authenticator
from tests.unit.auth.manual_clock import ManualClock

CONSOLE = RelyingParty("example.org", "https://console.example.org")
BROWSER = "what only this browser has"
RATE = 60


class World:
    """Auth without its gRPC face. Keys are verified from memory, as a replica does."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.clock = clock
        self.keys = KeyCache()
        self.store = AuthStore(database)
        self.accounts = Accounts(self.store, self.keys.put, clock=clock)
        self.methods = SignInMethodStore(database, self.store)
        self.used: list[str] = []
        self.issuer = KeyIssuer(
            self.store,
            self.keys.put,
            load_catalog(DEFAULT_CATALOG),
            prefix="tiermesh",
            default_requests_per_minute=RATE,
            bounds=KeyBounds(20, 20),
            clock=clock,
        )
        self.sessions = Sessions(
            SessionStore(database),
            self._authenticate,
            SessionLimits(3600.0, 3600.0, 20),
            on_change=self.keys.put,
            clock=clock,
        )
        self.session_keys = SessionKeys(
            self.sessions,
            SessionKeyStore(database),
            self.keys.put,
            KeyBounds(20, 20),
            KeyTerms("tiermesh", RATE, 0),
            clock=clock,
        )
        self.enrolment = Enrolment(self.store, self.issuer, self.sessions, self._note, clock=clock)
        signing_in = (Challenges(self.methods, clock=clock), self.sessions, self.enrolment, self._note)
        self.passkeys = Passkeys(self.methods, *signing_in, clock=clock)
        self.wallets = Wallets(self.methods, *signing_in, clock=clock)
        self.recovery_codes = RecoveryCodes(self.methods, self.issuer, self.sessions, clock=clock)

    async def _authenticate(self, secret: str) -> Credential:
        return self.keys.verify(secret, to_ms(self.clock()))

    def _note(self, key_id: str, now_ms: int) -> None:
        del now_ms
        self.used.append(key_id)

    async def owner(self, **wish: int) -> tuple[Account, ApiKey, str]:
        """Returns an account with a key that manages it, and the token of a session that this key began."""
        account = await self.accounts.create("Zoë")
        secret, key = await self.issuer.create(account.id, Wish("first", endpoints=("chat", "keys"), **wish))  # type: ignore[arg-type]  # Tests name fields that exist.
        token, _ = await self.sessions.create(secret, "Firefox")
        return account, key, token

    async def sign_up(self, authenticator: Authenticator, name: str = "Zoë") -> str:
        """Opens an account with a passkey, and returns the token of its session."""
        options = await self.passkeys.begin_sign_up(CONSOLE, BROWSER, name)
        token, _ = await self.passkeys.sign_up(BROWSER, authenticator.create(options), "Firefox")
        return token

    async def sign_in(self, authenticator: Authenticator) -> str:
        """Signs in with the newest credential, and returns the token of the session."""
        options = await self.passkeys.begin_sign_in(CONSOLE, BROWSER)
        token, _ = await self.passkeys.sign_in(BROWSER, authenticator.get(options), "Firefox")
        return token

    async def add(self, token: str, authenticator: Authenticator, name: str = "phone") -> ApiKey:
        """Adds a passkey in a session, and returns the key that it stands on."""
        options = await self.passkeys.begin_adding(CONSOLE, token)
        found, _ = await self.passkeys.add(token, authenticator.create(options), name)
        assert found.key is not None
        return found.key

    async def key_of(self, token: str) -> ApiKey:
        """Returns the key of a session."""
        return (await self.sessions.find(token)).standing_on

    def lets_in(self, secret: str) -> bool:
        """Whether requests with a key are let in."""
        try:
            self.keys.verify(secret, to_ms(self.clock()))
        except MeshError as error:
            if error.code is not Code.UNAUTHENTICATED:
                raise
            return False
        return True

    async def ended(self, token: str) -> bool:
        """Whether a token signs nobody in any more."""
        try:
            await self.sessions.find(token)
        except MeshError as error:
            if error.code is not Code.UNAUTHENTICATED:
                raise
            return True
        return False


@pytest.fixture
async def world(tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    database = Database(f"sqlite:///{tmp_path / 'auth.db'}")
    await migrate(database, MIGRATIONS)
    yield World(database, clock)
    await database.close()


@pytest.fixture
def authenticator() -> Authenticator:
    return Authenticator(CONSOLE.origin)
