"""What the auth service can be told: `TIERMESH_AUTH_<FIELD>`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.auth.keys import MAX_REQUESTS_PER_MINUTE
from services.common.settings import GrpcServiceSettings


class AuthSettings(GrpcServiceSettings, frozen=True, kw_only=True):
    """The settings of one auth process."""

    listen: str = "127.0.0.1:7101"
    # sqlite:///relative/path, sqlite:////absolute/path or postgresql://user:password@host/name.
    database_url: str = "sqlite:///auth.db"
    # New keys start with "sk-<key_prefix>-"; keys made under another prefix go on working.
    key_prefix: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]{1,20}$")] = "tiermesh"
    # The limit of a key that is made without one; 0 means no limit.
    default_requests_per_minute: Annotated[int, msgspec.Meta(ge=0, le=MAX_REQUESTS_PER_MINUTE)] = 60
    # How often the times of last use are written, in seconds; the contract promises "to about a minute".
    last_used_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    # How often changes of keys made by other replicas are looked for, in seconds; what is revoked at one replica goes
    # on working at the others for at most about this long.
    change_poll_seconds: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.2
    # For how long a replica that cannot reach the database goes on trusting the keys in its memory, in seconds. It is
    # the longest that a revoked key can go on working anywhere.
    max_stale_seconds: Annotated[float, msgspec.Meta(ge=2)] = 30.0
    # Where rate limits are counted: memory:// for one replica; redis://host:port/db, rediss://…, redis+unix:///path
    # or valkey://… for several, a single primary that all of them share.
    rate_limit_url: Annotated[str, msgspec.Meta(pattern=r"^(memory|rediss?|valkeys?|(redis|valkey)\+unix)://")] = (
        "memory://"
    )
    # How many working keys an account may have before it can make no more by itself.
    max_keys_per_account: Annotated[int, msgspec.Meta(ge=1)] = 1000
    # How many revoked and expired keys it may have before it can make no more until some of them are pruned.
    max_dead_keys_per_account: Annotated[int, msgspec.Meta(ge=1)] = 5000
    # For how long revoked and expired keys are kept and listed, in seconds. After that they are unknown.
    dead_key_retention_seconds: Annotated[float, msgspec.Meta(gt=0)] = 30 * 86400.0
