from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from services.common.settings import SettingsError
from services.console.http.origin import served_at
from services.console.sign_in.relying_party import RelyingParty, relying_party, why_none


@pytest.mark.parametrize(
    ("url", "domain", "expected"),
    [
        ("", "", RelyingParty("localhost", "http://localhost:8001")),
        ("http://127.0.0.1:8001", "", RelyingParty("localhost", "http://localhost:8001")),
        ("http://[::1]:8001", "localhost", RelyingParty("localhost", "http://localhost:8001")),
        ("https://Console.Example.org", "", RelyingParty("console.example.org", "https://console.example.org")),
        ("https://console.example.org", "Example.org", RelyingParty("example.org", "https://console.example.org")),
        ("https://x.org:8443", "x.org", RelyingParty("x.org", "https://x.org:8443")),
        ("https://10.1.2.3", "", None),
        ("https://[fd00::1]:8443", "", None),
    ],
)
def test_passkeys_are_for_the_host_or_a_domain_that_it_belongs_to(
    url: str, domain: str, expected: RelyingParty | None
) -> None:
    assert relying_party(served_at(url, "127.0.0.1:8001"), domain) == expected


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://console.example.org", "org"),
        ("https://console.example.org", "example.com"),
        ("https://console.example.org", "ole.example.org"),
        ("https://console.example.org", "a.console.example.org"),
        ("https://console.example.org", "https://console.example.org"),
        ("https://10.1.2.3", "10.1.2.3"),
        ("https://10.1.2.3", "example.org"),
        ("", "example.org"),
    ],
)
def test_a_domain_that_no_page_may_use_is_refused_at_the_start(url: str, domain: str) -> None:
    with pytest.raises(SettingsError, match="PASSKEY_DOMAIN"):
        relying_party(served_at(url, "127.0.0.1:8001"), domain)


def test_without_the_extra_there_are_none() -> None:
    origin = served_at("https://console.example.org", "")
    assert relying_party(origin, "", installed=False) is None
    assert "installed" in why_none(installed=False)
    assert "host name" in why_none(installed=True)
    with pytest.raises(SettingsError, match="extra 'passkeys'"):
        relying_party(origin, "example.org", installed=False)


@pytest.mark.parametrize(
    ("host", "serves"), [("localhost:8001", True), ("LOCALHOST:8001", True), ("127.0.0.1:8001", False)]
)
def test_it_is_known_whether_a_page_can_use_passkeys(host: str, serves: bool) -> None:
    party = relying_party(served_at("", "127.0.0.1:8001"), "")
    assert party is not None
    assert party.serves(make_mocked_request("GET", "/", headers={"Host": host})) is serves
