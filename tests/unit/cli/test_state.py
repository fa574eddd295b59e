from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from services.cli.errors import CliError
from services.cli.local.ready_file import ReadyFile
from services.cli.state import Credentials, RunningMesh, StateDirectory

CREDENTIALS = Credentials(account_id="acct_1", key_id="key_1", api_key="sk-tiermesh-1")


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    state = StateDirectory(tmp_path / "deep" / "state")
    state.create()
    return state


def test_the_directory_is_private_and_never_committed(state: StateDirectory) -> None:
    assert state.path.stat().st_mode & 0o777 == 0o700
    assert (state.path / ".gitignore").read_text() == "*\n"


def test_credentials_come_back_and_are_private(state: StateDirectory) -> None:
    assert state.load_credentials() is None
    state.save_credentials(CREDENTIALS)
    assert state.load_credentials() == CREDENTIALS
    assert (state.path / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in state.path.iterdir()) == [".gitignore", "credentials.json", "logs"]


def test_damaged_credentials_are_named(state: StateDirectory) -> None:
    (state.path / "credentials.json").write_text("{")
    with pytest.raises(CliError, match=r"credentials\.json is damaged: .*\. Restore the file or delete it\."):
        state.load_credentials()


def test_a_running_mesh_is_described_and_forgotten(state: StateDirectory) -> None:
    mesh = RunningMesh(base_url="http://x/v1", addresses={"auth": "a:1"}, metrics={}, catalog_file="f", pid=1)
    state.save_mesh(mesh)
    assert state.load_mesh() == mesh
    state.forget_mesh()
    assert state.load_mesh() is None


def test_a_directory_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CliError, match=r"Cannot write to the state directory .*\. Choose another with --state-dir\."):
        StateDirectory(tmp_path / "file" / "state").create()


def test_only_one_may_hold_the_lock(state: StateDirectory) -> None:
    with state.locked(), pytest.raises(CliError, match=rf"Another `tiermesh up` \(process {os.getpid()}\)"):
        state.locked().__enter__()
    with state.locked():
        pass


def test_the_ready_file_exists_from_publishing_to_removal(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text("left by a predecessor that was killed")
    ready_file = ReadyFile(path)
    ready_file.remove()
    ready_file.update({"edge": 1})
    assert not path.exists()
    ready_file.publish({"base_url": "u", "pids": {"edge": 1}})
    ready_file.update({"edge": 2})
    assert json.loads(path.read_bytes()) == {"base_url": "u", "pids": {"edge": 2}}
    assert path.stat().st_mode & 0o777 == 0o600
    ready_file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_ready_file_without_a_folder_is_explained_at_once(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"Cannot write the ready file .*: No such file or directory"):
        ReadyFile(tmp_path / "missing" / "ready.json").remove()


def test_no_ready_file_is_needed() -> None:
    ready_file = ReadyFile(None)
    ready_file.publish({"pids": {}})
    ready_file.update({})
    ready_file.remove()
