"""What `tiermesh up` says when it cannot start: what is wrong, what would help, and never a traceback."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from services.cli.state import StateDirectory
from tests.support.mesh import LocalMesh, run_tiermesh


async def refused(directory: Path, *options: str, **environ: str) -> str:
    state = () if "--state-dir" in options else ("--state-dir", str(directory / "state"))
    usual = ("--port", "0", "--engine", "simulated", "--tier", "pro")
    done = await run_tiermesh("up", *usual, *state, *options, environ=environ)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


async def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        error = await refused(tmp_path, "--port", str(port))
    assert error == f"Error: Another program uses port {port}. Choose another port with --port.\n"


async def test_a_state_directory_in_use(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    state.create()
    with state.locked():
        assert "Another `tiermesh up` (process " in await refused(tmp_path)


async def test_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = await refused(tmp_path, "--state-dir", str(tmp_path / "file" / "state"))
    assert "Cannot write to the state directory" in error


async def test_a_typing_error_in_the_models_file(tmp_path: Path) -> None:
    models = tmp_path / "models.yaml"
    models.write_text("models:\n  - {id: a, kind: chat, tier: pro, prize: 1, context: 4096}\n")
    error = await refused(tmp_path, "--models", str(models))
    assert f"the catalog {models} is wrong" in error
    assert "prize" in error


async def test_a_missing_models_file(tmp_path: Path) -> None:
    assert "cannot read the catalog /missing.yaml" in await refused(tmp_path, "--models", "/missing.yaml")


async def test_a_missing_etcd(tmp_path: Path) -> None:
    error = await refused(tmp_path, ETCD_BIN="/missing/etcd")
    assert "correct it or unset it" in error


async def test_an_etcd_that_is_no_program(tmp_path: Path) -> None:
    program = tmp_path / "etcd"
    program.write_text("no program")
    program.chmod(0o755)
    error = await refused(tmp_path, ETCD_BIN=str(program))
    assert error == f"Error: cannot run {program} (from ETCD_BIN): Exec format error\n"


async def test_an_etcd_that_is_too_old(tmp_path: Path) -> None:
    program = tmp_path / "etcd"
    program.write_text('#!/bin/sh\necho "etcd Version: 3.3.25"\n')
    program.chmod(0o755)
    error = await refused(tmp_path, ETCD_BIN="", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert error.startswith(
        f"Error: {program} (from PATH) is etcd 3.3.25, and 3.4.23 or newer is needed: set ETCD_BIN "
    )


async def test_a_ready_file_without_a_folder(tmp_path: Path) -> None:
    error = await refused(tmp_path, "--ready-file", str(tmp_path / "missing" / "ready.json"))
    assert "Cannot write the ready file" in error


async def test_a_service_that_does_not_start(tmp_path: Path) -> None:
    """The setting reaches the runner, which refuses it; its own words are shown and nothing stays behind."""
    error = await refused(tmp_path, TIERMESH_RUNNER_LEASE_SECONDS="soon")
    assert "runner-pro did not start: it ended with status 1" in error
    assert "TIERMESH_RUNNER_" in error.split("the last lines of ")[1]
    assert StateDirectory(tmp_path / "state").load_mesh() is None


async def test_a_damaged_database(tmp_path: Path) -> None:
    mesh = LocalMesh(tmp_path)
    mesh.state_dir.mkdir()
    (mesh.state_dir / "auth.db").write_bytes(b"this is no database at all, but something else" * 100)
    error = await refused(tmp_path)
    assert "auth could not prepare its database" in error
