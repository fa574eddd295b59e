from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.settings import SettingsError
from services.edge.remote_images.policy import FetchPolicy, read_hosts
from services.edge.remote_images.remote_url import read_url


@pytest.mark.parametrize(
    ("text", "host", "port", "url"),
    [
        ("https://example.com", "example.com", 443, "https://example.com/"),
        ("HTTPS://Example.COM./a/b.png?c=d#e", "example.com", 443, "https://example.com/a/b.png?c=d"),
        ("https://example.com:8443/%41?x=%2f+y", "example.com", 8443, "https://example.com:8443/%41?x=%2f+y"),
        ("https://münchen.de/ä?ö=ü", "xn--mnchen-3ya.de", 443, "https://xn--mnchen-3ya.de/%C3%A4?%C3%B6=%C3%BC"),
        ("https://example。com/", "example.com", 443, "https://example.com/"),
        ("http://example.com/", "example.com", 80, "http://example.com/"),
        ("https://93.184.216.34/", "93.184.216.34", 443, "https://93.184.216.34/"),
        ("https://[2606:4700::1]/", "2606:4700::1", 443, "https://[2606:4700::1]/"),
    ],
)
def test_a_url_is_read(text: str, host: str, port: int, url: str) -> None:
    read = read_url(text)
    assert (read.host, read.port, str(read.url)) == (host, port, url)
    assert (read.url.raw_host, read.url.port) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "ftp://example.com/a.png",
        "dict://example.com/",
        "javascript:alert(1)",
        "//example.com/a.png",
        "/a.png",
        "example.com/a.png",
        "",
        "https://",
        "https:///a.png",
        "https:example.com",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://example.com@127.0.0.1/",
        "https://127.0.0.1\\@example.com/",
        "https://example.com\\a",
        "https://example.com:99999/",
        "https://example.com:http/",
        "https://exa mple.com/",
        "https://example.com/a b",
        "https://example.com/\r\nHost: other",
        "https://example.com/\x00",
        "https://example.com\u2028/",
        "https://a..b/",
        "https://" + "a" * 64 + ".com/",
        "https://example.com/" + "a" * 9000,
        "https://[::1",
        "https://[::1%25eth0]/",
        "https://[v1.x]/",
        "https://exam%70le.com/",
    ],
)
def test_what_could_be_misunderstood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|holds|not|longer"):
        read_url(text)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7f.1",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.01",
        "127.0.0.0x1",
        "1.2.3.4.5",
        "example.0x7f",
        "256.0.0.1",
        "0x",
    ],
)
def test_unusual_spellings_of_addresses_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match="unusual spelling"):
        read_url(f"https://{host}/")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1.", "\uff11\uff12\uff17.0.0.1", "127。0。0。1", "①27.0.0.1"])
def test_look_alikes_of_an_address_are_that_address(host: str) -> None:
    read = read_url(f"https://{host}/")
    assert (read.host, read.literal) == ("127.0.0.1", True)


@given(st.text(max_size=60))
def test_nothing_but_a_refusal_comes_of_nonsense(text: str) -> None:
    for candidate in (text, "https://" + text, "https://example.com/" + text, "https://[" + text + "]/"):
        try:
            read = read_url(candidate)
        except ValueError:
            continue
        assert (read.url.scheme, read.url.raw_host, read.url.port) == (read.scheme, read.host, read.port)
        assert read.url.user is None


@pytest.mark.parametrize(
    ("setting", "host", "allowed"),
    [
        ("any", "anything.org", True),
        ("example.com, .example.org", "example.com", True),
        ("Example.com", "example.com", True),
        ("example.com", "www.example.com", False),
        ("example.com", "notexample.com", False),
        (".example.org", "img.example.org", True),
        (".example.org", "example.org", False),
        (".example.org", "badexample.org", False),
    ],
)
def test_an_operator_may_list_hosts(setting: str, host: str, allowed: bool) -> None:
    enabled, hosts = read_hosts(setting)
    assert enabled
    assert FetchPolicy(hosts=hosts).allows_host(host) is allowed


def test_fetching_may_be_switched_off() -> None:
    assert read_hosts("off") == (False, ())


@pytest.mark.parametrize("setting", ["", ",", "https://example.com", "example.com:443", "*.example.com"])
def test_a_list_that_would_never_match_is_refused(setting: str) -> None:
    with pytest.raises(SettingsError, match="TIERMESH_EDGE_REMOTE_IMAGES"):
        read_hosts(setting)
