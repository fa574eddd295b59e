"""Reads the URL of a remote image so strictly that no two programs can understand it differently."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, urlsplit

import idna
from yarl import URL

LONGEST_URL = 8192
_DEFAULT_PORTS = {"https": 443, "http": 80}
# Control characters, spaces, and the backslash that browsers take for a slash.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ufeff]")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
# A host whose last label looks like a number is an IPv4 address in one of many spellings:
# https://url.spec.whatwg.org/#ends-in-a-number-checker.
_NUMBER = re.compile(r"(?:\d+|0x[0-9a-f]*)")
# Everything that may stand in a path or query as it is; quoting again must not change what was quoted.
_PLAIN = "%/:?#[]@!$&'()*+,;=-._~"


@dataclass(frozen=True, slots=True)
class RemoteUrl:
    """A URL that is understood; whether its host may be reached is another question."""

    scheme: str
    # A lower-case ASCII name, or an IP address in its usual spelling without brackets.
    host: str
    port: int
    # Path and query, quoted.
    path: str
    query: str
    # Whether `host` is an IP address.
    literal: bool

    @property
    def url(self) -> URL:
        """For aiohttp; nothing in it is interpreted again."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = None if self.port == _DEFAULT_PORTS[self.scheme] else self.port
        return URL.build(
            scheme=self.scheme, host=host, port=port, path=self.path, query_string=self.query, encoded=True
        )


def read_url(text: str) -> RemoteUrl:
    """Returns the parts of an http: or https: URL; raises ValueError, with how to fix it."""
    if len(text) > LONGEST_URL:
        raise ValueError(f"is longer than {LONGEST_URL} characters")
    if _FORBIDDEN.search(text):
        raise ValueError("holds spaces, control characters or backslashes; percent-encode them")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is not a valid URL") from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise ValueError("must begin with https:// or be a data: URL")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password; put a token into the query instead")
    host, literal = _read_host(host, bracketed=parts.netloc.startswith("["))
    return RemoteUrl(
        scheme=scheme,
        host=host,
        port=_DEFAULT_PORTS[scheme] if port is None else port,
        path=quote(parts.path, safe=_PLAIN) or "/",
        query=quote(parts.query, safe=_PLAIN),
        literal=literal,
    )


def _read_host(host: str, *, bracketed: bool) -> tuple[str, bool]:
    """Returns the host in its one spelling, and whether it is an IP address."""
    if bracketed:
        try:
            address: IPv6Address | None = IPv6Address(host)
        except AddressValueError:
            address = None
        if address is None or address.scope_id is not None:
            raise ValueError("does not hold a valid IPv6 address in its brackets")
        return str(address), True
    try:
        # Full-width digits and other look-alikes become ASCII here, before anything is checked.
        name = idna.encode(host, uts46=True).decode() if not host.isascii() else host.lower()
    except idna.IDNAError:
        raise ValueError("does not hold a valid host name") from None
    name = name.removesuffix(".")
    if not _HOST.fullmatch(name):
        raise ValueError("does not hold a valid host name")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            return str(IPv4Address(name)), True
        except AddressValueError:
            raise ValueError("holds an IP address in an unusual spelling; use a host name") from None
    return name, False
