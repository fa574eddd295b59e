"""The three files of mutual TLS, read anew when they have changed, so that certificates rotate without a restart."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from prometheus_client import Gauge

from services.common.settings import TlsSettings

# What a certificate is used for here: to be shown to callers, or to those who are called.
Use = Literal["server", "client"]

EXPIRES = Gauge(
    "tiermesh_certificate_expires_timestamp_seconds",
    "When the certificate in use expires, since the Unix epoch; 0 for one that is not valid",
    ["file"],
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the files hold, each in PEM."""

    ca: bytes
    chain: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Certificates(…)"


class CertificateFiles:
    """Knows which state of the files was read last. Every method raises OSError for a file that cannot be read."""

    def __init__(self, tls: TlsSettings, use: Use) -> None:
        self._tls = tls
        self._use = use
        self._paths = [Path(name) for name in (tls.ca_file, tls.cert_file, tls.key_file)]
        self._seen: list[tuple[int, int]] = []

    @property
    def changed(self) -> bool:
        """Whether the files are others than those that were read last."""
        return self._stamps() != self._seen

    def read(self) -> Certificates:
        """Reads the files as they are now."""
        stamps = self._stamps()
        ca, chain, key = (path.read_bytes() for path in self._paths)
        # Only now: what could not be read is to be read again.
        self._seen = stamps
        _note_expiry(self._tls, self._use, tuple(stamps))
        return Certificates(ca, chain, key)

    def check(self) -> None:
        """Raises OSError if the files do not fit each other, as while they are being written."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self._tls.ca_file)
        # OpenSSL's complaints are OSErrors too. With a password, even an empty one, it asks nobody for one.
        context.load_cert_chain(self._tls.cert_file, self._tls.key_file, password="")

    def _stamps(self) -> list[tuple[int, int]]:
        # The inode as well: a file that is moved into place may be as old as the one before.
        return [(stat.st_mtime_ns, stat.st_ino) for stat in (path.stat() for path in self._paths)]


@lru_cache(maxsize=8)
def _note_expiry(tls: TlsSettings, use: Use, stamps: tuple[tuple[int, int], ...]) -> None:
    """Sets the metric, once for each state of the files."""
    del stamps
    try:
        EXPIRES.labels(tls.cert_file).set(ssl.cert_time_to_seconds(own_certificate(tls, use)["notAfter"]))
    except OSError:
        EXPIRES.labels(tls.cert_file).set(0)


def own_certificate(tls: TlsSettings, use: Use) -> dict[str, Any]:
    """Returns the certificate, in the form of `ssl.SSLSocket.getpeercert`, once it has proved good for its use.

    For that, the files shake hands with themselves in memory. Raises ssl.SSLCertVerificationError for one that has
    expired or that the authority did not sign, and OSError for files that cannot be used.
    """
    server_context, client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    for context, verifies in ((server_context, use == "client"), (client_context, use == "server")):
        context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        context.load_verify_locations(tls.ca_file)
        context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    while not all([_shakes_hands(client), _shakes_hands(server)]):
        pass
    return (client if use == "server" else server).getpeercert() or {}


def _shakes_hands(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
