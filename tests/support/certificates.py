"""The throw-away authority of `tiermesh certs dev`, with what tests need besides."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from services.cli import certificate_authority
from services.cli.dev_certificates import PARTS
from services.common.rpc.peer_names import peer_name
from services.common.settings import TlsSettings

LOCAL_HOSTS = ("localhost", "127.0.0.1")
LIFETIME = datetime.timedelta(hours=1)
# The age of a certificate that has expired, and of one that is about to.
EXPIRED = 2 * LIFETIME
EXPIRING = 0.95 * LIFETIME


class CertificateAuthority(certificate_authority.CertificateAuthority):
    """Signs certificates for an hour, for the local host."""

    def __init__(self, name: str = "test authority") -> None:
        super().__init__(name, LIFETIME)

    def issue(
        self,
        directory: Path,
        name: str = "peer",
        hosts: Sequence[str] = LOCAL_HOSTS,
        age: datetime.timedelta = datetime.timedelta(),
    ) -> TlsSettings:
        """Writes ca.crt, tls.crt and tls.key into `directory`, over what is there, and returns their paths."""
        return super().issue(directory, name, hosts, age)

    def issue_all(self, directory: Path) -> None:
        """Writes a certificate for each part of a mesh, over what is there."""
        for part in PARTS:
            self.issue(directory / part, peer_name(part))
