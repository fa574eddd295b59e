"""A backup of SQLite is restored as docs/operations/backup.md says: its commands run here, with folders for volumes."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.kubectl import ROOT
from tests.deploy.overlays import component, environment, of_kind, workloads
from tests.deploy.procedures import Command, kubectl_commands
from tests.deploy.resources import containers, pod_spec

PAGE = ROOT / "docs" / "operations" / "backup.md"
PARTS = ("auth", "billing")


@pytest.fixture
def pod() -> dict[str, Any]:
    """The pod that takes the files."""
    [command] = [c for c in kubectl_commands(PAGE) if c.verb == "apply" and "-f" in c.options]
    found: dict[str, Any] = yaml.safe_load((ROOT / command.options["-f"]).read_text())
    return found


def test_the_pod_has_the_volumes_of_the_laptop_and_no_more_rights_than_others(pod: dict[str, Any]) -> None:
    [operator] = [workload for workload in workloads("laptop") if component(workload) == "operator"]
    [theirs], [container] = containers(operator), pod["spec"]["containers"]
    for field in ("image", "command", "securityContext"):
        assert container[field] == theirs[field]
    for field in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert pod["spec"][field] == (pod_spec(operator) or {})[field]
    claims = {claim["metadata"]["name"] for claim in of_kind("laptop", "PersistentVolumeClaim")}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    for part in PARTS:
        [volume] = [volume for volume in pod["spec"]["volumes"] if volume["name"] == part]
        assert volume["persistentVolumeClaim"]["claimName"] == f"tiermesh-{part}"
        assert volume["persistentVolumeClaim"]["claimName"] in claims
        assert mounts[part] == f"/{part}"


@pytest.mark.parametrize("part", PARTS)
def test_the_databases_lie_where_the_page_says(part: str) -> None:
    [service] = [workload for workload in of_kind("laptop", "Deployment") if component(workload) == part]
    for container in containers(service):
        assert environment(container)[f"TIERMESH_{part.upper()}_DATABASE_URL"] == f"sqlite:////data/{part}.db"
        assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]


def test_what_is_backed_up_comes_back(tmp_path: Path) -> None:
    for part in PARTS:
        (tmp_path / part).mkdir()
        live = sqlite3.connect(tmp_path / part / f"{part}.db")
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("CREATE TABLE saved (part)")
        live.execute("INSERT INTO saved VALUES (?)", (part,))
        live.commit()
        # A database in use: the page's commands back it up while this connection is open.
        for command in _of_part(part, after=None, before="apply"):
            _run(command, part, tmp_path)
        live.execute("DELETE FROM saved")
        live.commit()
        # A process that dies leaves its log behind, which would be applied to the restored file.
        log = tmp_path / part / f"{part}.db-wal"
        left_behind = log.read_bytes()
        live.close()
        log.write_bytes(left_behind)
        printed = [_run(command, part, tmp_path) for command in _of_part(part, after="apply", before=None)]
        assert printed[-1] == "('ok',)\n"
        assert sqlite3.connect(tmp_path / part / f"{part}.db").execute("SELECT * FROM saved").fetchall() == [(part,)]


def _of_part(part: str, *, after: str | None, before: str | None) -> list[Command]:
    """Returns the commands of the page's two sections on SQLite that act on the files of a part."""
    sequence = [c for c in kubectl_commands(PAGE) if c.verb in {"exec", "cp"} or "-f" in c.options]
    [border] = [position for position, command in enumerate(sequence) if command.verb == "apply"]
    chosen = sequence[border:] if after else sequence[:border]
    assert bool(after) is not bool(before)
    return [command for command in chosen if f"{part}.db" in " ".join(command.words)]


def _run(command: Command, part: str, folder: Path) -> str:
    """Runs what a command runs in a pod, or copies what it copies; the volume of a part is a folder with its name."""

    def here(text: str) -> str:
        return text.replace(f"/{part}/", f"{folder}/{part}/").replace("/data/", f"{folder}/{part}/")

    if command.verb == "cp":
        source, target = (
            here(path.partition(":")[2]) if ":" in path else str(folder / path) for path in command.arguments[1:]
        )
        shutil.copy(source, target)
        return ""
    program, *words = command.inner
    words = [here(word) for word in words]
    done = subprocess.run(
        [sys.executable if program == "python" else program, *words], capture_output=True, text=True, check=True
    )
    return done.stdout
