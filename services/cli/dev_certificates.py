"""A directory of throw-away certificates: `<role>/ca.crt`, `tls.crt` and `tls.key` for each part of a mesh.

The files have the names that cert-manager gives them in a Secret, so that settings look the same on a laptop.
"""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Sequence
from pathlib import Path

from services.cli.errors import CliError
from services.cli.state import certificate_files
from services.common.extras import how_to_install
from services.common.rpc.certificate_files import own_certificate
from services.common.rpc.peer_names import ROLES, peer_name

PARTS = (*ROLES, "etcd")
# How long those of a mesh on one machine are valid.
_DAYS = 90
# Where the parts of a mesh on one machine reach each other.
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


def ensure_dev_certificates(directory: Path, *, optional: Sequence[str] = ()) -> None:
    """Makes the certificates unless they are there; raises CliError for those that are no longer good.

    Those of an older version may lack the `optional` parts, which do not run.
    """
    if not directory.exists():
        make_dev_certificates(directory, days=_DAYS)
    try:
        own_certificate(certificate_files(directory / "operator"), "client")
    except ssl.SSLCertVerificationError as error:
        raise CliError(
            f"{directory}: {error.verify_message}. Delete this directory, and the next start creates new certificates."
        ) from error
    except OSError as error:
        raise CliError(
            f"Cannot use the certificates in {directory}: {error}. Delete it, and the next start creates new ones."
        ) from error
    if missing := [part for part in PARTS if part not in optional and not (directory / part).is_dir()]:
        # An older version made them, and the authority's key is gone.
        raise CliError(
            f"{directory} has no certificate for {', '.join(missing)}. "
            "Delete this directory, and the next start creates new certificates."
        )


def make_dev_certificates(directory: Path, *, days: int, hosts: Sequence[str] = ()) -> None:
    """Makes an authority and a certificate for each part, valid for the local host and `hosts`; raises CliError.

    The authority's key is never written: nobody can make another certificate that this mesh would trust.
    """
    try:
        # Not needed by anything else of a mesh, and large.
        from services.cli.certificate_authority import CertificateAuthority
    except ImportError as error:
        raise CliError(
            f"Creating certificates needs the Python package 'cryptography': {how_to_install('certs')}"
        ) from error
    if directory.exists() and any(directory.iterdir()):
        raise CliError(f"{directory} is not empty and may contain certificates in use. Choose another directory.")
    authority = CertificateAuthority("tiermesh throw-away authority", datetime.timedelta(days=days))
    try:
        for part in PARTS:
            authority.issue(directory / part, peer_name(part), (*_LOCAL_HOSTS, *hosts))
    except OSError as error:
        raise CliError(f"Cannot write to {directory}: {error.strerror}. Choose another directory.") from error
    except ValueError as error:
        raise CliError(f"--host is neither a DNS name nor an IP address: {error}") from error
