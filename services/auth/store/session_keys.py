"""The SQL of the keys of sessions.

Every transaction may run twice, as `Database.transaction` says, and is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import sqlalchemy as sa

from services.auth.issuing.key_store import Standing
from services.auth.keys import ApiKey
from services.auth.sessions.session_keys import SaltedKey
from services.auth.store.key_rows import find, get, insert, next_change, standing
from services.auth.store.tables import api_keys, sessions, to_key
from services.common.database.base import Database
from services.common.errors import Code, MeshError


class SessionKeyStore:
    """Keys of sessions in the database. Every method raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_session_key(self, session_id: str) -> SaltedKey | None:
        """Returns the newest key of a session, whether or not it works; None if it has none yet."""
        return await self._database.read(lambda connection: _find(connection, session_id))

    async def insert_session_key(self, salted: SaltedKey, admission: Callable[[Standing], None]) -> SaltedKey:
        """Keeps a new key of a session and returns it, or the one that another call has kept meanwhile.

        Raises MeshError UNAUTHENTICATED if the session has ended, and what `admission` raises.
        """
        key = salted.key
        session = sessions.c.id == key.session_id

        def work(connection: sa.Connection) -> SaltedKey:
            # Whoever ends the session waits for this transaction, and then finds its key.
            if connection.execute(sa.select(sessions.c.id).where(session).with_for_update()).first() is None:
                raise MeshError(Code.UNAUTHENTICATED, "The session has ended. Sign in again.")
            kept = _find(connection, key.session_id)
            if kept is not None and kept.key.works(key.created_at_ms):
                return kept
            number = next_change(connection)
            found = standing(connection, key)
            admission(found)
            bound = _bounded(key.expires_at_ms, found.creator)
            connection.execute(sessions.update().where(session).values(key_salt=salted.salt))
            return SaltedKey(insert(connection, replace(key, expires_at_ms=bound), number), salted.salt)

        return await self._database.transaction(work)

    async def extend_session_key(self, key: ApiKey, expires_at_ms: int) -> ApiKey | None:
        """Moves the expiry of a key forward, not beyond that of the key that began its session.

        Returns it as it is kept, or None if it has been revoked.
        """
        still = (api_keys.c.id == key.id, api_keys.c.revoked_at_ms == 0)

        def work(connection: sa.Connection) -> ApiKey | None:
            number = next_change(connection)
            bound = _bounded(expires_at_ms, find(connection, key.created_by))
            values = {"expires_at_ms": bound, "change_number": number}
            kept = connection.execute(api_keys.update().where(*still).values(values)).rowcount
            return get(connection, key.id) if kept else None

        return await self._database.transaction(work)


def _find(connection: sa.Connection, session_id: str) -> SaltedKey | None:
    query = (
        sa.select(api_keys, sessions.c.key_salt)
        .join(sessions, sessions.c.id == api_keys.c.session_id)
        .where(api_keys.c.session_id == session_id)
        .order_by(api_keys.c.created_at_ms.desc(), api_keys.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return SaltedKey(to_key({column.name: row[column.name] for column in api_keys.columns}), bytes(row["key_salt"]))


def _bounded(expires_at_ms: int, creator: ApiKey | None) -> int:
    """Returns an expiry that is not beyond the creator's."""
    return min(expires_at_ms, creator.expires_at_ms) if creator and creator.expires_at_ms else expires_at_ms
