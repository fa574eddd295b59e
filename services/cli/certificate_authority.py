"""An authority for throw-away certificates. It needs the package cryptography, which the base installation lacks.

The package trustme signs such certificates too. But its authority is valid until the year 3000, whatever was asked, its
certificates may sign code as well, and it refuses the name `*`, which the tests of refusals need.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.cli.state import certificate_files, write_private
from services.common.clock import Clock, system_clock
from services.common.settings import TlsSettings

# A certificate counts from this long ago, for clocks that differ a little.
_LENIENCY = datetime.timedelta(minutes=1)


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
