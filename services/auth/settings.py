"""The settings of the auth service: `TIERMESH_AUTH_<FIELD>`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.auth.issuing.rights import MAX_CREDITS
from services.auth.keys import MAX_REQUESTS_PER_MINUTE
from services.common.settings import GrpcServiceSettings


class AuthSettings(GrpcServiceSettings, frozen=True, kw_only=True):
    """The settings of one auth process."""

    # Where the service listens, host:port.
    listen: str = "127.0.0.1:7101"
    # The database: sqlite:///relative/path, sqlite:////absolute/path or postgresql://user:password@host/name.
    database_url: str = "sqlite:///auth.db"
    # New keys start with `sk-<key_prefix>-`. Keys with another prefix keep working.
    key_prefix: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]{1,20}$")] = "tiermesh"
    # The rate limit of a key that is created without one; 0 means no limit. Unit: requests per minute.
    default_requests_per_minute: Annotated[int, msgspec.Meta(ge=0, le=MAX_REQUESTS_PER_MINUTE)] = 60
    # How often the times of last use are written. The contract promises them to about a minute. Unit: seconds.
    last_used_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    # How often a replica looks for changes of keys that other replicas made. A revoked key keeps working at other
    # replicas for about this long. Unit: seconds.
    change_poll_seconds: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.2
    # How long a replica that cannot reach the database keeps trusting the keys in its memory. A revoked key can work
    # for at most this long anywhere. Unit: seconds.
    max_stale_seconds: Annotated[float, msgspec.Meta(ge=2)] = 30.0
    # Where rate limits are counted: memory:// for one replica; for several replicas redis://host:port/db, rediss://…,
    # redis+unix:///path or valkey://…, a single primary that all of them share.
    rate_limit_url: Annotated[str, msgspec.Meta(pattern=r"^(memory|rediss?|valkeys?|(redis|valkey)\+unix)://")] = (
        "memory://"
    )
    # How many keys a replica holds in memory: a million take about 130 MB. Of more keys, it holds those that were used
    # last, and reads the others from the database when they are used.
    max_keys_in_memory: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000
    # How many working keys an account may have before it can create no more through the API.
    max_keys_per_account: Annotated[int, msgspec.Meta(ge=1)] = 1000
    # How many revoked and expired keys an account may have before it can create no more through the API.
    max_dead_keys_per_account: Annotated[int, msgspec.Meta(ge=1)] = 5000
    # How long revoked and expired keys are kept and listed, in seconds. Then they are deleted.
    dead_key_retention_seconds: Annotated[int, msgspec.Meta(ge=1)] = 2_592_000
    # How long a session of the console lasts. Unit: seconds.
    session_seconds: Annotated[float, msgspec.Meta(gt=0)] = 43_200.0
    # How long a session of the console may be unused before it ends. Unit: seconds.
    session_idle_seconds: Annotated[float, msgspec.Meta(gt=0)] = 7_200.0
    # How many sessions of the console an account has at the same time. A further one ends the oldest.
    max_sessions_per_account: Annotated[int, msgspec.Meta(ge=1)] = 50
    # How many credits the key of a session of the console may spend in a calendar month: what its playground can cost.
    # 0 means no cap of its own.
    session_key_credits: Annotated[int, msgspec.Meta(ge=0, le=MAX_CREDITS)] = 500
