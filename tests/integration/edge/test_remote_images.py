"""The fetcher of remote images against real HTTPS servers, some of which it must never reach."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from services.common.settings import TlsSettings
from services.edge.remote_images import FetchPolicy, ImageFetcher
from services.edge.remote_images.address_book import system_resolver
from services.edge.remote_images.addresses import read_networks
from tests.support.certificates import CertificateAuthority
from tests.support.deadlines import stretched
from tests.support.image_server import ImageServer, http_response
from tests.support.images import plain_image

IMAGE = plain_image()
LIMIT = 1_000_000
# The public internet of these tests is 127.0.0.1; everything else is forbidden, 127.0.0.2 among it.
PUBLIC, FORBIDDEN = "127.0.0.1", "127.0.0.2"


class Names:
    """A resolver of the test's own. Each name gives its answers one after the other, and the last for ever."""

    def __init__(self, **names: list[list[str]]) -> None:
        self._names = names
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answers = self._names.get(host)
        if not answers:
            raise OSError("no such host")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsSettings:
    return CertificateAuthority().issue(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def server(tls: TlsSettings) -> AsyncIterator[ImageServer]:
    async with ImageServer(tls) as server:
        server.responses["/a.png"] = http_response(IMAGE)
        yield server


@pytest.fixture
async def internal(tls: TlsSettings, server: ImageServer) -> AsyncIterator[ImageServer]:
    """A server that nobody may reach, on the same port, with a certificate that is good for it."""
    internal = ImageServer(tls, FORBIDDEN)
    await internal.start(server.port)
    internal.responses["/a.png"] = http_response(IMAGE)
    yield internal
    await internal.stop()


def fetcher(server: ImageServer, tls: TlsSettings, names: Names | None = None, **policy: object) -> ImageFetcher:
    base = FetchPolicy(ports=frozenset({443, server.port}), networks=read_networks([PUBLIC + "/32"]), seconds=20)
    names = names or Names(localhost=[[PUBLIC]])
    context = ssl.create_default_context(cafile=tls.ca_file)
    return ImageFetcher(replace(base, **policy), names, tls=context)  # type: ignore[arg-type] # fields of FetchPolicy


async def refused(fetcher: ImageFetcher, url: str, limit: int = LIMIT) -> str:
    with pytest.raises(ValueError, match=r"\w") as error:
        await fetcher.fetch(url, limit)
    assert FORBIDDEN not in str(error.value)
    return str(error.value)


async def test_an_image_is_fetched(server: ImageServer, tls: TlsSettings) -> None:
    assert await fetcher(server, tls).fetch(server.url("/a.png"), LIMIT) == IMAGE
    (request,) = server.requests
    assert "accept-encoding: identity" in request.lower()
    assert "cookie" not in request.lower()


async def test_the_systems_resolver_finds_hosts(server: ImageServer, tls: TlsSettings) -> None:
    policy = FetchPolicy(ports=frozenset({server.port}), networks=read_networks(["127.0.0.0/8", "::1/128"]))
    context = ssl.create_default_context(cafile=tls.ca_file)
    fetched = ImageFetcher(policy, system_resolver(), tls=context).fetch(server.url("/a.png"), LIMIT)
    assert await fetched == IMAGE


async def test_proxies_of_the_environment_are_not_used(
    server: ImageServer, tls: TlsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await fetcher(server, tls).fetch(server.url("/a.png"), LIMIT) == IMAGE


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.2",
        "[::1]",
        "169.254.169.254",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "2130706434",
        "0x7f000002",
        "0x7f.0.0.2",
        "0177.0.0.2",
        "127.2",
        "\uff11\uff12\uff17.0.0.2",
        "127.0.0.2.",
    ],
)
async def test_addresses_that_are_not_public_are_never_connected_to(
    server: ImageServer, internal: ImageServer, tls: TlsSettings, host: str
) -> None:
    asking = fetcher(server, tls)
    for port in (f":{server.port}", ""):
        assert "public internet" in (said := await refused(asking, f"https://{host}{port}/a.png")) or "spelling" in said
    assert (server.connections, internal.connections) == (0, 0)


@pytest.mark.parametrize(
    "addresses",
    [[FORBIDDEN], [PUBLIC, FORBIDDEN], [FORBIDDEN, PUBLIC], [PUBLIC, "::1"], ["::ffff:127.0.0.2"], ["fe80::1%lo"], []],
)
async def test_names_that_lead_to_such_addresses_are_refused(
    server: ImageServer, internal: ImageServer, tls: TlsSettings, addresses: list[str]
) -> None:
    asking = fetcher(server, tls, Names(localhost=[addresses]))
    assert "is not on the public internet" in await refused(asking, server.url("/a.png"))
    assert (server.connections, internal.connections) == (0, 0)


async def test_a_name_that_changes_its_mind_after_the_check_leads_nowhere_else(
    server: ImageServer, internal: ImageServer, tls: TlsSettings
) -> None:
    names = Names(localhost=[[PUBLIC], [FORBIDDEN]])
    assert await fetcher(server, tls, names).fetch(server.url("/a.png"), LIMIT) == IMAGE
    assert names.asked == ["localhost"]
    assert (server.connections, internal.connections) == (1, 0)


async def test_a_name_that_changes_its_mind_between_redirects_is_refused(
    server: ImageServer, internal: ImageServer, tls: TlsSettings
) -> None:
    server.responses["/moved"] = http_response(b"", "Location: /a.png", status="302 Found")
    asking = fetcher(server, tls, Names(localhost=[[PUBLIC], [FORBIDDEN]]))
    assert "is not on the public internet" in await refused(asking, server.url("/moved"))
    assert internal.connections == 0


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Again", "308 For Good"])
async def test_redirects_are_followed(server: ImageServer, tls: TlsSettings, status: str) -> None:
    server.responses["/moved"] = http_response(b"", "Location: /a.png", "Set-Cookie: a=b", status=status)
    assert await fetcher(server, tls).fetch(server.url("/moved"), LIMIT) == IMAGE
    assert "cookie" not in server.requests[1].lower()


@pytest.mark.parametrize(
    "target",
    [
        "https://127.0.0.2:{port}/a.png",
        "//127.0.0.2:{port}/a.png",
        "https://[::1]:{port}/a.png",
        "https://169.254.169.254/latest/meta-data/",
        "https://2130706434:{port}/a.png",
        "https://[::ffff:127.0.0.2]:{port}/a.png",
        "https://internal:{port}/a.png",
        "https://user@localhost:{port}/a.png",
        "http://localhost:{port}/a.png",
        "http://127.0.0.2/a.png",
        "https://localhost:22/",
        "file:///etc/passwd",
        "gopher://127.0.0.2:6379/_INFO",
        "ftp://localhost/a.png",
        "data:image/png;base64,AAAA",
    ],
)
async def test_redirects_to_what_may_not_be_fetched_are_refused(
    server: ImageServer, internal: ImageServer, tls: TlsSettings, target: str
) -> None:
    location = "Location: " + target.format(port=server.port)
    server.responses["/moved"] = http_response(b"", location, status="302 Found")
    names = Names(localhost=[[PUBLIC]], internal=[[FORBIDDEN]])
    await refused(fetcher(server, tls, names), server.url("/moved"))
    assert internal.connections == 0
    assert len(server.requests) == 1


async def test_redirects_end(server: ImageServer, tls: TlsSettings) -> None:
    server.responses["/round"] = http_response(b"", "Location: /round", status="302 Found")
    assert "redirects more than 3 times" in await refused(fetcher(server, tls), server.url("/round"))
    assert len(server.requests) == 4
    server.responses["/nowhere"] = http_response(b"", status="302 Found")
    await refused(fetcher(server, tls), server.url("/nowhere"))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://localhost/", "ftp://localhost/", "http://localhost/"])
async def test_only_https_is_spoken(server: ImageServer, tls: TlsSettings, url: str) -> None:
    names = Names(localhost=[[PUBLIC]])
    assert "must begin with https://" in await refused(fetcher(server, tls, names), url)
    assert names.asked == []


async def test_only_listed_hosts_and_ports(server: ImageServer, tls: TlsSettings) -> None:
    names = Names(localhost=[[PUBLIC]])
    listed = fetcher(server, tls, names, hosts=("example.com",))
    assert "is on a host that images are not fetched from" in await refused(listed, server.url("/a.png"))
    assert "must not name a port" in await refused(fetcher(server, tls, names), "https://localhost:22/")
    assert names.asked == []
    assert await fetcher(server, tls, names, hosts=("localhost",)).fetch(server.url("/a.png"), LIMIT) == IMAGE


@pytest.mark.parametrize("body", [b"", IMAGE[:10]])
async def test_a_slow_body_is_given_up(server: ImageServer, tls: TlsSettings, body: bytes) -> None:
    server.responses["/slow"] = http_response(body, "Content-Length: 1000")
    server.stalling.add("/slow")
    began = time.monotonic()
    assert "was not fetched within 0.5 seconds" in await refused(fetcher(server, tls, seconds=0.5), server.url("/slow"))
    assert time.monotonic() - began < stretched(5)


async def test_a_server_that_never_answers_is_given_up(server: ImageServer, tls: TlsSettings) -> None:
    server.responses["/silent"] = b""
    server.stalling.add("/silent")
    assert "was not fetched within" in await refused(fetcher(server, tls, seconds=0.5), server.url("/silent"))


async def test_the_time_counts_for_all_redirects_together(server: ImageServer, tls: TlsSettings) -> None:
    server.responses["/moved"] = http_response(b"", "Location: /silent", status="302 Found")
    server.responses["/silent"] = b""
    server.stalling.add("/silent")
    assert "was not fetched within" in await refused(fetcher(server, tls, seconds=0.5), server.url("/moved"))


@pytest.mark.parametrize("framing", ["Connection: close", "Transfer-Encoding: chunked"])
async def test_an_endless_body_is_cut_off(server: ImageServer, tls: TlsSettings, framing: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n{framing}\r\n\r\n".encode()
    server.responses["/endless"] = head
    server.endless["/endless"] = b"10000\r\n" + bytes(65536) + b"\r\n"
    assert "is larger than the limit of 1,000,000 bytes" in await refused(fetcher(server, tls), server.url("/endless"))


async def test_endless_headers_are_cut_off(server: ImageServer, tls: TlsSettings) -> None:
    server.responses["/endless"] = b"HTTP/1.1 200 OK\r\n"
    server.endless["/endless"] = b"X-Header: " + b"a" * 1000 + b"\r\n"
    await refused(fetcher(server, tls), server.url("/endless"))


async def test_a_server_may_lie_about_its_length(server: ImageServer, tls: TlsSettings) -> None:
    server.responses["/long"] = http_response(IMAGE, "Content-Length: 99999999")
    server.responses["/short"] = http_response(IMAGE + bytes(3_000_000), f"Content-Length: {len(IMAGE)}")
    server.responses["/missing"] = http_response(IMAGE, f"Content-Length: {len(IMAGE) + 10}")
    server.responses["/negative"] = http_response(IMAGE, "Content-Length: -1")
    asking = fetcher(server, tls)
    assert "is larger than the limit" in await refused(asking, server.url("/long"))
    # What comes after the stated length is never a part of the image; it may make the answer no HTTP at all.
    with contextlib.suppress(ValueError):
        assert await asking.fetch(server.url("/short"), LIMIT) == IMAGE
    assert "could not be fetched" in await refused(asking, server.url("/missing"))
    assert "could not be fetched" in await refused(asking, server.url("/negative"))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_a_compressed_body_is_not_unpacked(server: ImageServer, tls: TlsSettings, coding: str) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < LIMIT
    server.responses["/bomb"] = http_response(bomb, f"Content-Encoding: {coding}")
    assert "comes compressed" in await refused(fetcher(server, tls), server.url("/bomb"))


async def test_what_is_no_image_is_refused(server: ImageServer, tls: TlsSettings) -> None:
    server.responses["/page"] = http_response(b"<html>", content_type="text/html")
    server.responses["/broken"] = b"nonsense\r\n\r\n"
    asking = fetcher(server, tls)
    assert "is not an image" in await refused(asking, server.url("/page"))
    assert "answers HTTP 404" in await refused(asking, server.url("/missing"))
    assert "could not be fetched" in await refused(asking, server.url("/broken"))


async def test_the_certificate_must_be_that_of_the_host(server: ImageServer, tls: TlsSettings, tmp_path: Path) -> None:
    names = Names(localhost=[[PUBLIC]], other=[[PUBLIC]])
    assert "could not be fetched" in await refused(fetcher(server, tls, names), server.url("/a.png", "other"))
    stranger = CertificateAuthority("stranger").issue(tmp_path)
    assert "could not be fetched" in await refused(fetcher(server, stranger), server.url("/a.png"))
    assert server.requests == []


async def test_a_host_that_does_not_exist_or_answer(server: ImageServer, tls: TlsSettings) -> None:
    assert "a host that does not exist" in await refused(fetcher(server, tls), server.url("/a.png", "nowhere"))
    with socket.socket() as closed:
        closed.bind((PUBLIC, 0))
        port = closed.getsockname()[1]
        asking = fetcher(server, tls, ports=frozenset({port}))
        assert "could not be fetched" in await refused(asking, f"https://localhost:{port}/a.png")
