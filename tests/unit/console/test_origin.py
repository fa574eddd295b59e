from __future__ import annotations

import pytest

from services.common.settings import SettingsError
from services.console.http.origin import served_at


def test_on_the_local_machine_every_name_of_it_is_accepted() -> None:
    origin = served_at("", "127.0.0.1:8001")
    assert origin.url == "http://localhost:8001"
    assert origin.hosts == {"localhost:8001", "127.0.0.1:8001", "[::1]:8001"}
    assert not origin.secure
    # Every port of this machine shares its cookies.
    assert origin.cookie("session") == "tiermesh-session-8001"


@pytest.mark.parametrize("url", ["https://Console.Example.org", "https://console.example.org:443/"])
def test_a_public_url_is_the_only_origin(url: str) -> None:
    origin = served_at(url, "0.0.0.0:8001")
    assert origin.origins == ("https://console.example.org",)
    assert origin.hosts == {"console.example.org"}
    assert origin.secure
    assert origin.cookie("session") == "__Host-tiermesh-session"


def test_other_ports_are_part_of_the_origin() -> None:
    assert served_at("https://x.org:8443", "").origins == ("https://x.org:8443",)
    assert served_at("http://[::1]:80", "").url == "http://[::1]"


@pytest.mark.parametrize(
    ("url", "listen"),
    [
        ("", "0.0.0.0:8001"),
        ("http://console.example.org", "127.0.0.1:8001"),
        ("http://localhost.example.org", "127.0.0.1:8001"),
        ("console.example.org", "127.0.0.1:8001"),
        ("https://", "127.0.0.1:8001"),
        ("https://x.org/console", "127.0.0.1:8001"),
        ("https://a@x.org", "127.0.0.1:8001"),
        ("ftp://localhost", "127.0.0.1:8001"),
    ],
)
def test_what_is_unsafe_or_no_origin_is_refused(url: str, listen: str) -> None:
    with pytest.raises(SettingsError):
        served_at(url, listen)
