from __future__ import annotations

import pytest

from services.auth.settings import AuthSettings
from services.common.settings import SettingsError, load_settings


def test_the_defaults_work_on_one_machine() -> None:
    settings = load_settings(AuthSettings, "auth", {})
    assert (settings.database_url, settings.key_prefix) == ("sqlite:///auth.db", "tiermesh")
    assert settings.default_requests_per_minute == 60
    assert (settings.rate_limit_url, settings.max_stale_seconds) == ("memory://", 30)


@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://u:p@h", "redis+unix:///s", "valkey://h", "valkeys://h"])
def test_every_spelling_of_a_shared_server_is_taken(url: str) -> None:
    assert load_settings(AuthSettings, "auth", {"TIERMESH_AUTH_RATE_LIMIT_URL": url}).rate_limit_url == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEY_PREFIX", "a-b"),
        ("KEY_PREFIX", ""),
        ("DEFAULT_REQUESTS_PER_MINUTE", "-1"),
        ("LAST_USED_SECONDS", "0"),
        ("CHANGE_POLL_SECONDS", "0"),
        ("CHANGE_POLL_SECONDS", "1.5"),
        ("MAX_STALE_SECONDS", "1"),
        ("MAX_KEYS_IN_MEMORY", "0"),
        ("RATE_LIMIT_URL", "memcached://localhost"),
    ],
)
def test_what_could_not_work_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError):
        load_settings(AuthSettings, "auth", {f"TIERMESH_AUTH_{name}": value})
