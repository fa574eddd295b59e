"""Chooses where rate limits are counted."""

from __future__ import annotations

from services.auth.rate_limits.local import Limiter, RateLimits
from services.common.settings import SettingsError


def open_limiter(url: str) -> Limiter:
    """Returns the limiter for a RATE_LIMIT_URL; raises SettingsError for one that cannot be used."""
    local = RateLimits()
    if url.startswith("memory://"):
        return local
    # Imported only where it is used: the client library costs a process memory.
    from services.auth.rate_limits.shared import TIMEOUT, SharedRateLimits
    from services.auth.rate_limits.window_redis import RedisWindows

    try:
        windows = RedisWindows(url, timeout=TIMEOUT)
    except ValueError:
        # Its text is not shown: it repeats the password.
        raise SettingsError("TIERMESH_AUTH_RATE_LIMIT_URL is not a URL: redis://user:password@host:port/db") from None
    return SharedRateLimits(windows, local)
