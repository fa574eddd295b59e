from __future__ import annotations

import pytest

from services.auth.rate_limits.choice import open_limiter
from services.auth.rate_limits.local import RateLimits
from services.common.settings import SettingsError


def test_memory_needs_nothing() -> None:
    assert isinstance(open_limiter("memory://"), RateLimits)


def test_a_url_that_cannot_be_used_is_named_without_its_password() -> None:
    with pytest.raises(SettingsError, match="RATE_LIMIT_URL") as caught:
        open_limiter("redis://user:hunter2@host:port/0")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:password@nowhere.invalid:1/0",
        "rediss://nowhere.invalid:1/0",
        "redis+unix:///nowhere/socket?db=1",
        "valkey://user:password@nowhere.invalid:1/0",
        "valkeys://nowhere.invalid:1/0",
        "valkey+unix:///nowhere/socket",
    ],
)
async def test_nothing_is_connected_before_the_first_request(url: str) -> None:
    limiter = open_limiter(url)
    await limiter.close()
