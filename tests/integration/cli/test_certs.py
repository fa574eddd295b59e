"""`tiermesh certs dev`, and the mesh that runs on what it makes."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.dev_certificates import PARTS
from services.cli.state import certificate_files
from services.common.rpc.certificate_files import own_certificate
from tests.support.certificates import EXPIRED, CertificateAuthority
from tests.support.mesh import run_tiermesh


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def test_every_part_gets_its_certificate(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "certificates"
    done = await run_tiermesh(
        "certs", "dev", str(directory), "--days", "3", "--host", "etcd.example.org", "--host", "10.0.0.7"
    )
    assert done.returncode == 0, done.stderr
    assert names_in(directory) == set(PARTS)
    for part in PARTS:
        for use in ("server", "client"):
            certificate = own_certificate(certificate_files(directory / part), use)
            names = certificate["subjectAltName"]
            assert {("DNS", f"tiermesh-{part}"), ("DNS", "localhost"), ("DNS", "etcd.example.org")} <= set(names)
            assert {("IP Address", "127.0.0.1"), ("IP Address", "10.0.0.7")} <= set(names)


async def test_files_are_private_and_the_authoritys_key_is_nowhere(tmp_path: Path) -> None:
    await run_tiermesh("certs", "dev", str(tmp_path / "tls"))
    files = [path for path in (tmp_path / "tls").rglob("*") if path.is_file()]
    assert len(files) == 3 * len(PARTS)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert len([path for path in files if b"PRIVATE KEY" in path.read_bytes()]) == len(PARTS)


async def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = await run_tiermesh("certs", "dev", str(tmp_path))
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert names_in(tmp_path) == {"precious"}


@pytest.mark.parametrize("arguments", [("--days", "0"), ("--days", "soon")])
async def test_wrong_usage_exits_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert (await run_tiermesh("certs", "dev", str(tmp_path / "tls"), *arguments)).returncode == 2


async def test_a_host_that_is_none_is_explained_and_leaves_nothing(tmp_path: Path) -> None:
    done = await run_tiermesh("certs", "dev", str(tmp_path / "tls"), "--host", "bücher.example")
    assert done.returncode == 1
    assert "--host is neither a DNS name nor an IP address" in done.stderr
    assert not (tmp_path / "tls").exists()


async def test_without_the_extra_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    # A module that cannot be imported stands before the real one.
    (tmp_path / "cryptography").mkdir()
    (tmp_path / "cryptography" / "__init__.py").write_text("raise ImportError('not installed')")
    done = await run_tiermesh("certs", "dev", str(tmp_path / "tls"), environ={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "pip install --editable '.[certs]'" in done.stderr


async def test_a_mesh_does_not_start_on_expired_certificates(tmp_path: Path) -> None:
    CertificateAuthority().issue(tmp_path / "state" / "tls" / "operator", "tiermesh-operator", age=EXPIRED)
    state = ("--state-dir", str(tmp_path / "state"))
    done = await run_tiermesh("up", "--tls", "--port", "0", "--engine", "simulated", "--tier", "pro", *state)
    assert done.returncode == 1
    assert "certificate has expired. Delete this directory, and the next start creates new certificates." in done.stderr


async def test_no_other_command_needs_the_extra(tmp_path: Path) -> None:
    code = "import sys, services.cli.__main__; sys.exit('cryptography' in sys.modules)"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], check=False)
    assert done.returncode == 0
