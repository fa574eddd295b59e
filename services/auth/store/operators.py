"""The SQL of operators, their sessions and the record of their actions.

Every transaction may run twice, as `Database.transaction` says, and is idempotent. Lengths and constraints are the
migrations' business.
"""

from __future__ import annotations

from dataclasses import asdict, fields

import sqlalchemy as sa

from services.auth.operators.actions import Action, ActionFilter, Outcome, RecordedAction
from services.auth.operators.operator import Operator
from services.auth.operators.sessions import FoundOperatorSession, OperatorSession
from services.common.database.base import Database
from services.common.errors import Code, MeshError

_metadata = sa.MetaData()
_TIMES = ("created_at_ms", "confirmed_at_ms", "last_used_at_ms", "expires_at_ms")
operators = sa.Table(
    "operators",
    _metadata,
    *(sa.Column(name, sa.String) for name in ("id", "name", "hint")),
    sa.Column("digest", sa.LargeBinary),
    *(sa.Column(name, sa.BigInteger) for name in ("created_at_ms", "removed_at_ms")),
)
sessions = sa.Table(
    "operator_sessions",
    _metadata,
    *(sa.Column(name, sa.String) for name in ("id", "operator_id", "label")),
    sa.Column("digest", sa.LargeBinary),
    *(sa.Column(name, sa.BigInteger) for name in _TIMES),
)
actions = sa.Table(
    "operator_actions",
    _metadata,
    sa.Column("number", sa.BigInteger),
    *(sa.Column(name, sa.String) for name in ("id", "operator_id", "operator_name", "action", "subject", "detail")),
    sa.Column("at_ms", sa.BigInteger),
)
outcomes = sa.Table(
    "operator_action_outcomes",
    _metadata,
    *(sa.Column(name, sa.String) for name in ("action_id", "outcome", "message")),
    sa.Column("ended_at_ms", sa.BigInteger),
)
_SESSION_FIELDS = [field.name for field in fields(OperatorSession)]
_OPERATOR_COLUMNS = {column.name: column.label(f"operator__{column.name}") for column in operators.columns}
_FOUND = sa.select(*(sessions.c[name] for name in _SESSION_FIELDS), *_OPERATOR_COLUMNS.values()).join(
    operators, operators.c.id == sessions.c.operator_id
)
_RECORDED = sa.select(*actions.columns, *outcomes.columns).join(
    outcomes, outcomes.c.action_id == actions.c.id, isouter=True
)


class OperatorStore:
    """Operators in the database. Every method raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert_operator(self, operator: Operator) -> None:
        """Keeps a new operator; raises MeshError CONFLICT if there is or was one with this name."""

        def work(connection: sa.Connection) -> None:
            row = connection.execute(sa.select(operators.c.id).where(operators.c.name == operator.name)).first()
            if row is None:
                connection.execute(operators.insert().values(asdict(operator)))
            elif row.id != operator.id:
                message = f"There is or was an operator with the name {operator.name!r}. Choose another name."
                raise MeshError(Code.CONFLICT, message, param="name")

        await self._database.transaction(work)

    async def list_operators(self) -> list[Operator]:
        """Returns every operator, oldest first."""
        query = operators.select().order_by(operators.c.created_at_ms, operators.c.id)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [Operator(**row) for row in rows]

    async def remove_operator(self, id_or_name: str, now_ms: int) -> Operator:
        """Marks an operator as removed unless that is done, and forgets its sessions; raises MeshError NOT_FOUND."""
        same = sa.or_(operators.c.id == id_or_name, operators.c.name == id_or_name)

        def work(connection: sa.Connection) -> Operator:
            connection.execute(
                operators.update().where(same, operators.c.removed_at_ms == 0).values(removed_at_ms=now_ms)
            )
            row = connection.execute(operators.select().where(same)).mappings().first()
            if row is None:
                message = "There is no such operator. `tiermesh operator list` shows all of them."
                raise MeshError(Code.NOT_FOUND, message, param="operator")
            connection.execute(sessions.delete().where(sessions.c.operator_id == row["id"]))
            return Operator(**row)

        return await self._database.transaction(work)

    async def find_operator(self, digest: bytes) -> Operator | None:
        """Returns the operator with a key, removed or not."""
        query = operators.select().where(operators.c.digest == digest)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else Operator(**row)

    async def insert_session(self, session: OperatorSession, digest: bytes, most: int) -> None:
        """Keeps a new session, and of the operator's others only the newest, so that there are `most` with it.

        Sessions of any operator that ended before this one begins are forgotten.
        """
        same = sessions.c.id == session.id
        others = sa.select(sessions.c.id).where(sessions.c.operator_id == session.operator_id, sa.not_(same))
        newest = others.order_by(sessions.c.created_at_ms.desc(), sessions.c.id.desc())

        def work(connection: sa.Connection) -> None:
            connection.execute(sessions.delete().where(sessions.c.expires_at_ms <= session.created_at_ms))
            surplus = connection.execute(newest.offset(most - 1)).scalars().all()
            connection.execute(sessions.delete().where(sessions.c.id.in_(surplus)))
            if connection.execute(sa.select(sessions.c.id).where(same)).first() is None:
                connection.execute(sessions.insert().values(digest=digest, **asdict(session)))

        await self._database.transaction(work)

    async def find_session(self, digest: bytes) -> FoundOperatorSession | None:
        """Returns the session of a token, whether or not it counts."""
        query = _FOUND.where(sessions.c.digest == digest)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        if row is None:
            return None
        operator = {name: row[label.name] for name, label in _OPERATOR_COLUMNS.items()}
        return FoundOperatorSession(
            OperatorSession(**{name: row[name] for name in _SESSION_FIELDS}), Operator(**operator)
        )

    async def note_use(self, session_id: str, used_at_ms: int, confirmed_at_ms: int) -> None:
        """Moves both times of a session forward to those given; never back."""
        mark = sessions.update().where(sessions.c.id == session_id)
        used = mark.where(sessions.c.last_used_at_ms < used_at_ms).values(last_used_at_ms=used_at_ms)
        confirmed = mark.where(sessions.c.confirmed_at_ms < confirmed_at_ms).values(confirmed_at_ms=confirmed_at_ms)

        def work(connection: sa.Connection) -> None:
            connection.execute(used)
            connection.execute(confirmed)

        await self._database.transaction(work)

    async def end_session(self, digest: bytes) -> None:
        """Forgets the session of a token."""
        ended = sessions.delete().where(sessions.c.digest == digest)
        await self._database.transaction(lambda connection: connection.execute(ended))

    async def insert_action(self, action: Action) -> None:
        """Appends an action; nothing happens if there is one with this ID."""
        await self._database.transaction(lambda connection: append_action(connection, action))

    async def insert_outcome(self, outcome: Outcome) -> None:
        """Appends an outcome; nothing happens if the action has one. Raises MeshError NOT_FOUND without the action."""
        await self._database.transaction(lambda connection: append_outcome(connection, outcome))

    async def list_actions(self, wanted: ActionFilter, before: int, limit: int) -> list[RecordedAction]:
        """Returns actions, newest first; with `before`, only those with a lower number."""
        query = _RECORDED.order_by(actions.c.number.desc()).limit(limit)
        query = query.where(*(actions.c[name] == text for name, text in asdict(wanted).items() if text))
        if before:
            query = query.where(actions.c.number < before)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [_recorded(row) for row in rows]


def append_action(connection: sa.Connection, action: Action) -> bool:
    """Appends an action unless there is one with this ID; tells whether there was none."""
    if connection.execute(sa.select(actions.c.id).where(actions.c.id == action.id)).first() is not None:
        return False
    connection.execute(actions.insert().values(asdict(action)))
    return True


def append_outcome(connection: sa.Connection, outcome: Outcome) -> None:
    """Appends an outcome; nothing happens if the action has one. Raises MeshError NOT_FOUND without the action."""
    known = sa.select(actions.c.id).where(actions.c.id == outcome.action_id)
    has_one = sa.select(outcomes.c.action_id).where(outcomes.c.action_id == outcome.action_id)
    if connection.execute(known).first() is None:
        raise MeshError(Code.NOT_FOUND, "There is no such action. Begin it first.", param="action_id")
    if connection.execute(has_one).first() is None:
        connection.execute(outcomes.insert().values(asdict(outcome)))


def _recorded(row: sa.RowMapping) -> RecordedAction:
    action = Action(**{field.name: row[field.name] for field in fields(Action)})
    outcome = (
        None if row["action_id"] is None else Outcome(**{field.name: row[field.name] for field in fields(Outcome)})
    )
    return RecordedAction(row["number"], action, outcome)
