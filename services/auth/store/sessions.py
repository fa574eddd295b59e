"""The SQL of sessions. Every transaction may run twice, as `Database.transaction` says, and is idempotent."""

from __future__ import annotations

from dataclasses import asdict, fields

import sqlalchemy as sa

from services.auth.keys import ApiKey
from services.auth.sessions.session import FoundSession, Session
from services.auth.store.key_rows import get, revoke
from services.auth.store.tables import JOINED_KEY, accounts, api_keys, joined_key, sessions, to_key
from services.common.database.base import Database

_FIELDS = [field.name for field in fields(Session)]
_ACCOUNT_NAME = "account_name"
# Every column of the session, of its account the name, and of its key all columns.
_FOUND = (
    sa.select(*(sessions.c[name] for name in _FIELDS), accounts.c.name.label(_ACCOUNT_NAME), *JOINED_KEY.values())
    # Nobody is signed in to a suspended or closed account.
    .join(
        accounts,
        sa.and_(accounts.c.id == sessions.c.account_id, accounts.c.suspended_at_ms == 0, accounts.c.closed_at_ms == 0),
    )
    .join(api_keys, api_keys.c.id == sessions.c.key_id, isouter=True)
)
_NEWEST = (sessions.c.created_at_ms.desc(), sessions.c.id.desc())


class SessionStore:
    """Sessions in the database. Every method raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert_session(self, session: Session, digest: bytes, most: int) -> list[ApiKey]:
        """Keeps a new session, and of the account's others only the newest, so that there are `most` with it.

        Sessions of any account that ended before this one begins are forgotten. The keys of all sessions that are not
        kept are revoked, and returned.
        """
        others = sa.select(sessions.c.id).where(
            sessions.c.account_id == session.account_id, sessions.c.id != session.id
        )
        kept = sa.select(sessions.c.id).where(sessions.c.id == session.id)

        def work(connection: sa.Connection) -> list[ApiKey]:
            surplus = connection.execute(others.order_by(*_NEWEST).offset(most - 1)).scalars().all()
            ended = sa.or_(sessions.c.expires_at_ms <= session.created_at_ms, sessions.c.id.in_(surplus))
            _, revoked = _end(connection, ended, session.created_at_ms)
            if connection.execute(kept).first() is None:
                connection.execute(sessions.insert().values(digest=digest, **asdict(session)))
            return revoked

        return await self._database.transaction(work)

    async def find_session(self, digest: bytes) -> FoundSession | None:
        """Returns the session of a token, whether or not it counts."""
        query = _FOUND.where(sessions.c.digest == digest)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else _found(row)

    async def list_sessions(self, account_id: str) -> list[FoundSession]:
        """Returns the sessions of an account, newest first, whether or not they count."""
        query = _FOUND.where(sessions.c.account_id == account_id).order_by(*_NEWEST)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [_found(row) for row in rows]

    async def note_use(self, session_id: str, used_at_ms: int, confirmed_at_ms: int) -> None:
        """Moves both times of a session forward to those given; never back."""
        columns = {sessions.c.last_used_at_ms: used_at_ms, sessions.c.confirmed_at_ms: confirmed_at_ms}
        later = {column: sa.case((column < moment, moment), else_=column) for column, moment in columns.items()}
        mark = sessions.update().where(sessions.c.id == session_id).values(later)
        await self._database.transaction(lambda connection: connection.execute(mark))

    async def end_sessions(
        self, account_id: str, session_id: str, except_session_id: str, now_ms: int
    ) -> tuple[int, list[ApiKey]]:
        """Forgets one session of an account, or all but one, and revokes their keys.

        Returns how many sessions there were, and those keys.
        """
        if "\0" in session_id + except_session_id:
            # PostgreSQL takes no such text.
            return 0, []
        ended = sa.and_(sessions.c.account_id == account_id, sessions.c.id != except_session_id)
        if session_id:
            ended = sa.and_(ended, sessions.c.id == session_id)
        return await self._database.transaction(lambda connection: _end(connection, ended, now_ms))


def _end(connection: sa.Connection, which: sa.ColumnElement[bool], now_ms: int) -> tuple[int, list[ApiKey]]:
    """Forgets sessions and revokes their keys; returns how many there were, and those keys.

    The sessions come first: a key that is being made for one of them is either here by then or not made.
    """
    ended = connection.execute(sessions.delete().where(which).returning(sessions.c.id)).scalars().all()
    theirs = api_keys.select().where(api_keys.c.session_id.in_(ended), api_keys.c.revoked_at_ms == 0)
    keys = [to_key(row) for row in connection.execute(theirs).mappings()] if ended else []
    revoke(connection, keys, now_ms)
    return len(ended), [get(connection, key.id) for key in keys]


def _found(row: sa.RowMapping) -> FoundSession:
    return FoundSession(Session(**{name: row[name] for name in _FIELDS}), row[_ACCOUNT_NAME], joined_key(row))
