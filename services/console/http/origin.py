"""Where the console is served for browsers: the origins that it accepts, and what follows from them for cookies."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from services.common.settings import SettingsError

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Origin:
    """The first of `origins` is the one that people are told."""

    origins: tuple[str, ...]

    @property
    def url(self) -> str:
        """The address to open, without a slash at its end."""
        return self.origins[0]

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by TLS."""
        return self.url.startswith("https://")

    @property
    def hosts(self) -> frozenset[str]:
        """What the Host header may be."""
        return frozenset(origin.partition("//")[2] for origin in self.origins)

    def cookie(self, name: str) -> str:
        """Returns the whole name of a cookie.

        With TLS, the browser itself takes `__Host-` only from this very host. Without it, on the local machine, every
        port shares the cookies of the host, so the port is in the name.
        """
        port = self.url.rpartition(":")[2]
        return f"__Host-tiermesh-{name}" if self.secure else f"tiermesh-{name}-{port}"


def served_at(public_url: str, listen: str) -> Origin:
    """Returns the origin by the settings PUBLIC_URL and LISTEN; raises SettingsError."""
    if not public_url:
        host, _, port = listen.rpartition(":")
        if host not in _LOOPBACK:
            raise SettingsError("PUBLIC_URL is empty; set it to the URL at which people open the console")
        public_url = f"http://localhost:{port}"
    parts = urlsplit(public_url.rstrip("/").lower())
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path or parts.query or "@" in parts.netloc:
        raise SettingsError("PUBLIC_URL must be a scheme and a host, such as https://console.example.org")
    host, port = _host_and_port(parts.netloc, parts.scheme)
    if parts.scheme == "https":
        return Origin((f"https://{host}{port}",))
    if host not in _LOOPBACK:
        raise SettingsError("PUBLIC_URL must be https, because sessions would cross the network unencrypted")
    return Origin(tuple(f"http://{name}{port}" for name in (host, *(each for each in _LOOPBACK if each != host))))


def _host_and_port(netloc: str, scheme: str) -> tuple[str, str]:
    """Returns the host, and the port with its colon unless it is the scheme's own."""
    host, colon, port = netloc.rpartition(":")
    if not colon or port.endswith("]"):
        return netloc, ""
    return host, "" if port == {"http": "80", "https": "443"}[scheme] else f":{port}"
