"""A directory of throw-away certificates: `<role>/ca.crt`, `tls.crt` and `tls.key` for each part of a mesh.

The files have the names that cert-manager gives them in a Secret, so that settings look the same on a laptop.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.cli.errors import CliError
from services.cli.state import write_private
from services.common.clock import Clock, system_clock
from services.common.rpc.certificate_files import own_certificate
from services.common.rpc.peer_names import ROLES, peer_name
from services.common.settings import TlsSettings

PARTS = (*ROLES, "etcd")
# How long those of a mesh on one machine are valid.
_DAYS = 90
# Where the parts of a mesh on one machine reach each other.
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


# A certificate counts from this long ago, for clocks that differ a little.
_LENIENCY = datetime.timedelta(minutes=1)


def certificate_files(directory: Path) -> TlsSettings:
    """Returns the paths of one part's files in its directory."""
    return TlsSettings(
        ca_file=str(directory / "ca.crt"), cert_file=str(directory / "tls.crt"), key_file=str(directory / "tls.key")
    )


def ensure_dev_certificates(directory: Path) -> None:
    """Makes the certificates unless they are there; raises CliError for those that are no longer good."""
    if not directory.exists():
        make_dev_certificates(directory, days=_DAYS)
    try:
        own_certificate(certificate_files(directory / "operator"), "client")
    except ssl.SSLCertVerificationError as error:
        raise CliError(f"{directory}: {error.verify_message}; delete that directory to have new ones made") from error
    except OSError as error:
        raise CliError(
            f"cannot use the certificates of {directory}: {error}; delete it to have new ones made"
        ) from error


def make_dev_certificates(directory: Path, *, days: int, hosts: Sequence[str] = ()) -> None:
    """Makes an authority and a certificate for each part, valid for the local host and `hosts`; raises CliError.

    The authority's key is never written: nobody can make another certificate that this mesh would trust.
    """
    try:
        # Not needed by anything else of a mesh, and large.
        from services.cli.dev_certificates import CertificateAuthority
    except ImportError as error:
        raise CliError(
            "making certificates needs the Python package 'cryptography'; get it with: pip install 'tiermesh[certs]'"
        ) from error
    if directory.exists() and any(directory.iterdir()):
        raise CliError(f"{directory} is not empty, and certificates in use must not be lost; choose another directory")
    authority = CertificateAuthority("tiermesh throw-away authority", datetime.timedelta(days=days))
    try:
        for part in PARTS:
            authority.issue(directory / part, peer_name(part), (*_LOCAL_HOSTS, *hosts))
    except OSError as error:
        raise CliError(f"cannot write to {directory}: {error.strerror}; choose another directory") from error
    except ValueError as error:
        raise CliError(f"a --host is neither a DNS name nor an IP address: {error}") from error


class CertificateAuthority:
    """Signs certificates that servers and clients may both use. Its own key is in memory only, and gone with it."""

    def __init__(self, name: str, lifetime: datetime.timedelta, *, clock: Clock = system_clock) -> None:
        self._name = _common_name(name)
        self._lifetime = lifetime
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())
        usage = _key_usage(digital_signature=False, key_cert_sign=True, crl_sign=True)
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, directory: Path, name: str, hosts: Sequence[str] = (), age: datetime.timedelta = datetime.timedelta()
    ) -> TlsSettings:
        """Writes ca.crt, tls.crt and tls.key into `directory`, each replaced as a whole, and returns their paths.

        The certificate is for the DNS name `name` and for `hosts`, names or IP addresses. It counts as made
        so long ago as `age` says. Raises OSError.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            self._builder(_common_name(name), key.public_key(), age)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in (name, *hosts)]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        encoding = serialization.Encoding.PEM
        private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files = certificate_files(directory)
        write_private(Path(files.key_file), private)
        write_private(Path(files.cert_file), certificate.public_bytes(encoding))
        write_private(Path(files.ca_file), self.pem)
        return files

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, age: datetime.timedelta = datetime.timedelta()
    ) -> x509.CertificateBuilder:
        begin = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC) - age
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin - _LENIENCY)
            .not_valid_after(begin + self._lifetime)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(issuer, critical=False)
        )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, digital_signature: bool, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
