"""Fetches one image from the public internet, and from nowhere else.

A URL in a request lets a stranger choose where this machine connects to (server-side request forgery:
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html). So each hop is
read strictly, its name resolved once, every address checked, and the connection made to those addresses only. What the
client is told about a failure is the same whatever stands behind an address that is refused.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from functools import cached_property
from urllib.parse import urljoin

import aiohttp

from services.common.version import VERSION
from services.edge.remote_images.address_book import PinnedResolver, Resolve
from services.edge.remote_images.addresses import may_connect
from services.edge.remote_images.policy import FetchPolicy
from services.edge.remote_images.remote_url import RemoteUrl, read_url

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "Accept": "image/png, image/jpeg, image/webp, image/gif",
    # A compressed body could be a thousand times larger than it looks, and images are compressed already.
    "Accept-Encoding": "identity",
    "User-Agent": f"tiermesh/{VERSION} (image fetcher)",
}
# More addresses than a name needs; trying many takes long.
_MOST_ADDRESSES = 8


class ImageFetcher:
    """Fetches images as the policy says. `tls` is for servers with a certificate of a private authority, in tests."""

    def __init__(self, policy: FetchPolicy, resolve: Resolve, *, tls: ssl.SSLContext | None = None) -> None:
        self._policy = policy
        self._resolve = resolve
        self._tls = tls

    def check(self, text: str) -> None:
        """Raises ValueError, as `fetch` does, for a URL that is refused whatever its host is and answers."""
        if not self._policy.enabled:
            raise ValueError("is not fetched here; send the image itself as a data: URL")
        self._check_url(read_url(text))

    async def fetch(self, text: str, most_bytes: int) -> bytes:
        """Returns what stands at the URL, at most `most_bytes`.

        Raises ValueError with what is wrong, as the end of a sentence about the URL. Nothing in it tells what an
        address that may not be reached would have answered.
        """
        self.check(text)
        try:
            async with asyncio.timeout(self._policy.seconds):
                return await self._follow(text, most_bytes)
        except TimeoutError:
            raise ValueError(f"was not fetched within {self._policy.seconds:g} seconds; send a data: URL") from None
        except (aiohttp.ClientError, OSError, ssl.SSLError):
            # The reason might describe the network; whoever may see it can try the URL.
            raise ValueError("could not be fetched: its server cannot be reached or does not speak HTTPS") from None

    async def _follow(self, text: str, most_bytes: int) -> bytes:
        """Follows redirects; each hop is checked as the first was."""
        for _ in range(self._policy.redirects + 1):
            url = read_url(text)
            addresses = await self._checked_addresses(url)
            answer = await self._get(url, addresses, most_bytes)
            if isinstance(answer, bytes):
                return answer
            text = urljoin(text, answer)
        raise ValueError(f"redirects more than {self._policy.redirects} times")

    def _check_url(self, url: RemoteUrl) -> None:
        policy = self._policy
        if url.scheme == "http" and not policy.http:
            raise ValueError("must begin with https:// or be a data: URL")
        if url.port not in policy.ports and not (url.scheme == "http" and url.port == 80):
            raise ValueError("must not name a port")
        if not policy.allows_host(url.host):
            raise ValueError("is on a host that images are not fetched from here; send a data: URL")

    async def _checked_addresses(self, url: RemoteUrl) -> Sequence[str]:
        self._check_url(url)
        if url.literal:
            addresses: Sequence[str] = [url.host]
        else:
            try:
                addresses = await self._resolve(url.host)
            except (OSError, UnicodeError):
                raise ValueError("is on a host that does not exist") from None
        # One bad address is enough: whoever mixes them is up to something.
        if not addresses or not all(may_connect(address, self._policy.networks) for address in addresses):
            raise ValueError("is not on the public internet; send a data: URL")
        return addresses[:_MOST_ADDRESSES]

    async def _get(self, url: RemoteUrl, addresses: Sequence[str], most_bytes: int) -> bytes | str:
        """Returns the image of one hop, or where it redirects to."""
        connector = aiohttp.TCPConnector(
            resolver=PinnedResolver(url.host, addresses), use_dns_cache=False, force_close=True, ssl=self._context
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                auto_decompress=False,
                # Neither proxies nor passwords of this machine are for strangers' URLs.
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as session,
            session.get(url.url, allow_redirects=False) as response,
        ):
            if response.status in _REDIRECTS:
                return response.headers.get("Location", "")
            _check_response(response, most_bytes)
            return await _read(response, most_bytes)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        # Reading the authorities takes a while and some memory, so it waits for the first image.
        return self._tls or ssl.create_default_context()


def _check_response(response: aiohttp.ClientResponse, most_bytes: int) -> None:
    if response.status != 200:
        raise ValueError(f"answers HTTP {response.status} in place of an image")
    if not response.content_type.startswith("image/"):
        raise ValueError("is not an image: its server says that it is something else")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ValueError("comes compressed although nobody asked for that; send a data: URL")
    if response.content_length is not None and response.content_length > most_bytes:
        raise too_large(most_bytes)


async def _read(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """Reads the body whatever its server said about its length."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most_bytes:
            raise too_large(most_bytes)
    return bytes(body)


def too_large(most_bytes: int) -> ValueError:
    """Returns the refusal of an image of more than `most_bytes`."""
    return ValueError(f"is larger than the limit of {most_bytes:,} bytes; send a smaller or more compressed image")
