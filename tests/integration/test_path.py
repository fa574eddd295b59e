"""What lies on PATH decides nothing: tests take the programs of their own packages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.kubectl import kubectl
from tests.support import programs
from tests.support.etcd import EtcdServer
from tests.support.mesh import LocalMesh
from tests.support.postgres import PostgresServer, client_program
from tests.support.redis_server import RedisServer

FOREIGN = (
    *("etcd", "etcdctl", "kubectl", "node", "npm", "prometheus", "promtool", "redis-server", "redis-cli"),
    *("initdb", "pg_ctl", "pg_dump", "postgres", "psql"),
)


class ForeignPrograms:
    """Programs that come first on PATH, do nothing but fail, and leave a trace of it."""

    def __init__(self, folder: Path) -> None:
        self._traces = folder / "traces"
        self._traces.mkdir()
        self.folder = folder / "bin"
        self.folder.mkdir()
        for name in FOREIGN:
            program = self.folder / name
            program.write_text(f"#!/bin/sh\necho >'{self._traces / name}'\necho 'etcd Version: 3.3.25'\nexit 1\n")
            program.chmod(0o755)

    @property
    def started(self) -> list[str]:
        """The names of those that something has started."""
        return sorted(path.name for path in self._traces.iterdir())


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ForeignPrograms:
    foreign = ForeignPrograms(tmp_path)
    monkeypatch.setenv("PATH", str(foreign.folder), prepend=os.pathsep)
    return foreign


def test_the_foreign_programs_would_be_found(foreign: ForeignPrograms) -> None:
    for name in FOREIGN:
        subprocess.run([name], capture_output=True, check=False)
    assert foreign.started == sorted(FOREIGN)


@pytest.mark.parametrize("name", ["etcd", "node", "prometheus", "promtool", "redis-server", "pg_dump"])
def test_tests_start_programs_of_their_own(foreign: ForeignPrograms, name: str) -> None:
    done = subprocess.run([own_program(name), "--version"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert foreign.started == []


def own_program(name: str) -> Path:
    match name:
        case "etcd":
            return programs.etcd()
        case "node":
            return programs.node()
        case "redis-server":
            return programs.redis_server()
        case "pg_dump":
            return client_program(name)
        case _:
            return programs.prometheus(name)


async def test_servers_of_tests_are_their_own(foreign: ForeignPrograms, tmp_path: Path) -> None:
    async with EtcdServer(tmp_path), RedisServer():
        pass
    postgres = PostgresServer()
    try:
        postgres.start()
    finally:
        postgres.remove()
    assert "Client Version" in kubectl("version", "--client")
    assert foreign.started == []


async def test_a_mesh_of_the_tests_has_their_etcd(foreign: ForeignPrograms, tmp_path: Path) -> None:
    async with LocalMesh(tmp_path) as mesh:
        assert f"({programs.etcd()}, from ETCD_BIN)" in mesh.output
    assert foreign.started == []
