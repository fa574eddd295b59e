"""PostgreSQL over asyncpg: a small pool, bounded waits, and another try for what a new transaction can mend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.common.database.lanes import Lane
from services.common.database.transactions import ATTEMPTS, RetryTransaction, row_locked, unavailable
from services.common.telemetry.logs import get_logger

log = get_logger()
T = TypeVar("T")

CONNECT_SECONDS = 3.0

# serialization_failure and deadlock_detected: the server has undone the transaction, and the next try may pass.
_RETRIED_STATES = {"40001", "40P01"}
# Connection exceptions; admin_shutdown, crash_shutdown.
_CONNECTION_STATES = ("08", "57P01", "57P02")
# Insufficient resources, operator intervention, system errors; and read_only_sql_transaction (a replica after a
# fail-over), idle_in_transaction_session_timeout.
_UNAVAILABLE_STATES = ("53", "57", "58", "25006", "25P03")
# lock_not_available.
_LOCKED_STATE = "55P03"

_SERVER_SETTINGS = {
    # A process that hangs or is cut off must not keep its row locks for long.
    "idle_in_transaction_session_timeout": "10s",
    "jit": "off",
}
# For what runs often.
_HOT_SETTINGS = {
    # Statements that run often take arrays and find rows by an index, so that one plan is right for every array;
    # planning anew each time would cost more than running them.
    "plan_cache_mode": "force_generic_plan",
    # A plan made while a table was small would read the whole of it, and be kept after the table has grown. (Off means
    # a strong preference, not a ban.) It forbids no walk through a whole index: statements do (docs/decisions/0050).
    "enable_seqscan": "off",
}
# Reports and audits read parts of tables that differ by orders of magnitude. A plan for any part would be one for a
# large one, which for a small part reads whole tables.
_PLANNED_EACH_TIME = {"plan_cache_mode": "force_custom_plan"}
# What reads whole tables does so in small parts and rests between them. Workers beside it would take the processors
# away from requests meanwhile.
_ALONE = {"max_parallel_workers_per_gather": "0"}


class _Pool(NamedTuple):
    """The connections of a lane."""

    size: int
    # How long a transaction waits for one of them: where few wait for long work, as long as that may take.
    wait_seconds: float
    # How long one statement may take.
    statement_seconds: float
    settings: Mapping[str, str]


_POOLS = {
    Lane.SHORT: _Pool(4, CONNECT_SECONDS, 10.0, _HOT_SETTINGS),
    Lane.REPORT: _Pool(2, 60.0, 60.0, _PLANNED_EACH_TIME),
    Lane.WHOLE: _Pool(1, 900.0, 900.0, _PLANNED_EACH_TIME | _ALONE),
}
# For transactions that do not wait for the disk. Connections of their own save a statement in each of them.
_UNSYNCED = _Pool(1, CONNECT_SECONDS, 10.0, {**_HOT_SETTINGS, "synchronous_commit": "off"})


class PostgresqlBackend:
    """Runs each transaction on a connection of its lane's pool."""

    def __init__(self, url: sa.URL, lock_seconds: float) -> None:
        self._engines = {lane: _engine(url, lane.value, pool, lock_seconds) for lane, pool in _POOLS.items()}
        self._unsynced = _engine(url, "unsynced", _UNSYNCED, lock_seconds)

    async def transaction(self, work: Callable[[sa.Connection], T], *, synced: bool) -> T:
        """Runs the function on the event loop; see `Database.transaction`."""
        return await self._retry(work, self._engines[Lane.SHORT] if synced else self._unsynced)

    async def read(self, work: Callable[[sa.Connection], T], lane: Lane) -> T:
        """Runs the function on a snapshot."""
        return await self._retry(work, self._engines[lane], isolation="repeatable_read", readonly=True)

    async def close(self) -> None:
        """Closes every connection."""
        for engine in (*self._engines.values(), self._unsynced):
            await engine.dispose()

    async def _retry(self, work: Callable[[sa.Connection], T], engine: AsyncEngine, **options: Any) -> T:
        reconnected = False
        for _ in range(ATTEMPTS):
            try:
                return await self._attempt(work, engine, options)
            except RetryTransaction:
                continue
            except (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, PoolTimeout) as error:
                _raise_if_cancelled(error)
                failure = _classify(error)
                if failure is _Failure.OTHER:
                    raise
                if failure is _Failure.LOCKED:
                    raise row_locked() from error
                # After a restart of the server every pooled connection is dead, but a new one may work.
                if failure is _Failure.UNAVAILABLE or (failure is _Failure.CONNECTION and reconnected):
                    log.warning("database_failed", reason=_describe(error))
                    raise unavailable() from error
                reconnected = reconnected or failure is _Failure.CONNECTION
        raise unavailable()

    async def _attempt(self, work: Callable[[sa.Connection], T], engine: AsyncEngine, options: dict[str, Any]) -> T:
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            failure: Exception | None = None
            try:
                async with driver.transaction(**options):
                    try:
                        return await connection.run_sync(work)
                    except Exception as error:
                        failure = error
                        raise
            except BaseException as error:
                if driver.is_closed():
                    # The pool's other connections are as old and likely as dead.
                    await engine.dispose()
                if error is not failure or driver.is_closed():
                    # Beginning, committing or rolling back has failed or was cancelled half-way. The next user of this
                    # connection might find itself inside the old transaction, and its commit would mean nothing.
                    driver.terminate()
                    await connection.invalidate()
                raise


def _engine(url: sa.URL, name: str, pool: _Pool, lock_seconds: float) -> AsyncEngine:
    # The name tells in pg_stat_activity what a connection is for.
    own = {"application_name": f"tiermesh-{name}", "lock_timeout": f"{round(lock_seconds * 1000)}ms"}
    return create_async_engine(
        url,
        # SQLAlchemy begins no transactions of its own; asyncpg's are used, which serve its own statements as well.
        isolation_level="AUTOCOMMIT",
        pool_size=pool.size,
        max_overflow=0,
        pool_timeout=pool.wait_seconds,
        connect_args={
            "timeout": CONNECT_SECONDS,
            "command_timeout": pool.statement_seconds,
            "server_settings": {**_SERVER_SETTINGS, **pool.settings, **own},
        },
    )


class _Failure(Enum):
    """What a failed transaction calls for."""

    RETRY = "another try at once"
    CONNECTION = "another connection"
    UNAVAILABLE = "patience"
    LOCKED = "another way, without a row that stays locked"
    OTHER = "a programmer"


def _raise_if_cancelled(error: Exception) -> None:
    # What a cancelled statement leads to in the driver can hide the cancellation; trying again would swallow it.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


def _classify(error: Exception) -> _Failure:
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(cause, "sqlstate", None) or "")
    if state == _LOCKED_STATE:
        return _Failure.LOCKED
    if state in _RETRIED_STATES:
        return _Failure.RETRY
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return _Failure.CONNECTION
    if isinstance(cause, asyncpg.InterfaceError) or state.startswith(_CONNECTION_STATES):
        return _Failure.CONNECTION
    if isinstance(cause, (OSError, PoolTimeout)) or state.startswith(_UNAVAILABLE_STATES):
        return _Failure.UNAVAILABLE
    return _Failure.OTHER


def _describe(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return f"{type(cause).__name__}: {cause}"
