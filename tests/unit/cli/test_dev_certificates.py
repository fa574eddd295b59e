from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.cli.dev_certificates import PARTS, ensure_dev_certificates
from services.cli.errors import CliError
from services.cli.local.mesh import etcd_command
from services.cli.state import certificate_files
from services.common.settings import TlsSettings
from tests.support.certificates import EXPIRED, CertificateAuthority


def test_certificates_are_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    ensure_dev_certificates(directory)
    made = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert len(made) == 3 * len(PARTS)
    ensure_dev_certificates(directory)
    assert made == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_those_that_are_no_good_are_explained_and_kept(tmp_path: Path) -> None:
    files = CertificateAuthority().issue(tmp_path / "operator", "tiermesh-operator", age=EXPIRED)
    with pytest.raises(CliError, match=r"certificate has expired\. Delete this directory"):
        ensure_dev_certificates(tmp_path)
    Path(files.key_file).write_text("nothing")
    with pytest.raises(CliError, match="Cannot use the certificates in"):
        ensure_dev_certificates(tmp_path)
    assert Path(files.cert_file).exists()


def test_etcd_serves_only_who_has_a_certificate_where_tls_is_on() -> None:
    def command(tls: TlsSettings) -> tuple[str, ...]:
        addresses = {"client_address": "h:1", "peer_address": "h:2", "metrics_address": "h:3"}
        return etcd_command(Path("/etcd"), Path("/data"), **addresses, tls=tls)

    plain, guarded = command(TlsSettings()), command(certificate_files(Path("/tls")))
    assert "--listen-client-urls=http://h:1" in plain
    assert not any("cert" in part for part in plain)
    for part in ("--listen-client-urls=https://h:1", "--client-cert-auth=true", "--peer-client-cert-auth=true"):
        assert part in guarded
    # Its metrics hold nothing secret, and Prometheus has no certificate here.
    assert "--listen-metrics-urls=http://h:3" in guarded


def test_those_of_an_older_version_lack_a_part_and_say_so(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    ensure_dev_certificates(directory)
    shutil.rmtree(directory / "console")
    with pytest.raises(CliError, match=r"has no certificate for console\. Delete this directory"):
        ensure_dev_certificates(directory)
