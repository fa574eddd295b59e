"""What the auth service can be told: `TIERMESH_AUTH_<FIELD>`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.auth.keys import MAX_REQUESTS_PER_MINUTE
from services.common.settings import ServiceSettings


class AuthSettings(ServiceSettings, frozen=True, kw_only=True):
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
