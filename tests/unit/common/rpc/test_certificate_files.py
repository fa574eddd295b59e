from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.common.rpc.certificate_files import CertificateFiles, own_certificate
from services.common.settings import TlsSettings
from tests.support.certificates import EXPIRED, CertificateAuthority


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def tls(authority: CertificateAuthority, tmp_path: Path) -> TlsSettings:
    return authority.issue(tmp_path, "tiermesh-auth")


def expiry(tls: TlsSettings) -> float | None:
    return REGISTRY.get_sample_value("tiermesh_certificate_expires_timestamp_seconds", {"file": tls.cert_file})


def test_files_have_changed_until_they_are_read(authority: CertificateAuthority, tls: TlsSettings) -> None:
    files = CertificateFiles(tls, "server")
    states = [files.changed]
    found = files.read()
    states.append(files.changed)
    assert states == [True, False]
    assert (found.ca, found.chain, found.key) == tuple(
        Path(name).read_bytes() for name in (tls.ca_file, tls.cert_file, tls.key_file)
    )
    authority.issue(Path(tls.ca_file).parent, "tiermesh-auth")
    assert files.changed
    assert files.read() != found


def test_keys_are_never_shown(tls: TlsSettings) -> None:
    assert "KEY" not in repr(CertificateFiles(tls, "server").read())


def test_what_cannot_be_read_is_read_again(tls: TlsSettings) -> None:
    files = CertificateFiles(tls, "client")
    files.read()
    key = Path(tls.key_file)
    content = key.read_bytes()
    key.unlink()
    with pytest.raises(OSError, match=r"tls\.key"):
        _ = files.changed
    key.write_bytes(content)
    assert files.changed


def test_files_that_do_not_fit_each_other_are_noticed(
    authority: CertificateAuthority, tls: TlsSettings, tmp_path: Path
) -> None:
    files = CertificateFiles(tls, "client")
    files.check()
    other = authority.issue(tmp_path / "other")
    Path(tls.key_file).write_bytes(Path(other.key_file).read_bytes())
    with pytest.raises(ssl.SSLError, match="mismatch"):
        files.check()


@pytest.mark.parametrize("use", ["server", "client"])
def test_a_good_certificate_proves_itself(tls: TlsSettings, use: str) -> None:
    certificate = own_certificate(tls, "server" if use == "server" else "client")
    assert ("DNS", "tiermesh-auth") in certificate["subjectAltName"]


def test_one_that_has_expired_or_is_foreign_does_not(
    authority: CertificateAuthority, tls: TlsSettings, tmp_path: Path
) -> None:
    expired = authority.issue(tmp_path / "expired", age=EXPIRED)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        own_certificate(expired, "client")
    foreign = CertificateAuthority().issue(tmp_path / "foreign")
    mixed = TlsSettings(ca_file=tls.ca_file, cert_file=foreign.cert_file, key_file=foreign.key_file)
    with pytest.raises(ssl.SSLCertVerificationError):
        own_certificate(mixed, "server")


def test_the_expiry_is_a_metric(authority: CertificateAuthority, tls: TlsSettings, tmp_path: Path) -> None:
    CertificateFiles(tls, "server").read()
    assert expiry(tls) == ssl.cert_time_to_seconds(own_certificate(tls, "server")["notAfter"])
    authority.issue(tmp_path, "tiermesh-auth", age=EXPIRED)
    CertificateFiles(tls, "server").read()
    assert expiry(tls) == 0
