"""An account with keys and sessions on a real store, with a clock that only the test moves."""

from __future__ import annotations

from dataclasses import replace

from services.auth.accounts import Account, Accounts
from services.auth.issuing.bounds import KeyBounds
from services.auth.key_cache import Credential, KeyCache
from services.auth.keys import ApiKey, digest_of
from services.auth.sessions.session_keys import KeyTerms, SessionKeys
from services.auth.sessions.sessions import SessionLimits, Sessions
from services.auth.store.session_keys import SessionKeyStore
from services.auth.store.sessions import SessionStore
from services.auth.store.store import AuthStore
from services.common.clock import to_ms
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.unit.auth.keys_for_tests import api_key
from tests.unit.auth.manual_clock import ManualClock

LIFETIME, IDLE, MOST = 3600.0, 600.0, 3
# Credits that the key of a session may spend in a month.
CAP = 500
SECRET, OTHER_SECRET, PLAIN_SECRET = "sk-tiermesh-manages1", "sk-tiermesh-manages2", "sk-tiermesh-chats111"


class World:
    """An account with a key that manages it, another one, and one that may only be used."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.keys = KeyCache()
        self.auth_store = AuthStore(database)
        self.store = SessionStore(database)
        limits = SessionLimits(LIFETIME, IDLE, MOST)
        self.sessions = Sessions(
            self.store,
            self._authenticate,
            limits,
            on_change=self.keys.put,
            clock=clock,
        )
        self.session_keys = self.replica()

    async def _authenticate(self, secret: str) -> Credential:
        return self.keys.verify(secret, to_ms(self.clock()))

    def replica(self, keys: int = 1000) -> SessionKeys:
        """Returns what makes keys of sessions, as another process would."""
        terms = KeyTerms("tiermesh", 60, CAP)
        store = SessionKeyStore(self.database)
        return SessionKeys(self.sessions, store, self.keys.put, KeyBounds(keys), terms, clock=self.clock)

    async def fill(self) -> None:
        self.account = await Accounts(self.auth_store, self.keys.put, clock=self.clock).create("Zoë <b>")
        self.key = await self.add(SECRET, "key_1", ("chat", "keys"))
        await self.add(OTHER_SECRET, "key_2", ("keys",))
        await self.add(PLAIN_SECRET, "key_3", ())

    async def add(
        self,
        secret: str,
        key_id: str,
        endpoints: tuple[str, ...],
        account: Account | None = None,
        **fields: int | tuple[str, ...],
    ) -> ApiKey:
        account_id = (account or self.account).id
        key = api_key(secret, id=key_id, endpoints=endpoints, account_id=account_id, **fields)
        kept = await self.auth_store.insert_key(replace(key, digest=digest_of(secret)))
        self.keys.put(kept)
        return kept

    def works(self, secret: str) -> bool:
        """Whether this replica lets a key in."""
        try:
            self.keys.verify(secret, to_ms(self.clock()))
        except MeshError:
            return False
        return True

    async def ended(self, token: str) -> bool:
        """Whether a token signs nobody in any more; any other failure is a failure of the test."""
        try:
            await self.sessions.find(token)
        except MeshError as error:
            if error.code is not Code.UNAUTHENTICATED:
                raise
            return True
        return False
