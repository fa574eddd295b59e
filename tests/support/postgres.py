"""A real PostgreSQL server on a unix socket, with a database of its own for each test that asks for one."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy as sa

from tests.support import programs
from tests.support.apart import run_apart
from tests.support.deadlines import stretched

URL_VARIABLE = "TIERMESH_TEST_POSTGRES_URL"

# PostgreSQL refuses to run as root, so root runs it as "nobody".
_NOBODY = 65_534
_START_SECONDS = 30.0


class PostgresServer:
    """A server in a temporary directory. `stop` and `kill` keep its data for the next `start`.

    With `durable=False` commits are not synced to the disk: tests that kill processes, not machines, lose nothing.
    With `kept`, a folder, the databases are there, and stay when the rest is removed. `settings` are more of its own.
    """

    def __init__(
        self, *, durable: bool = False, kept: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        # The path of a socket may have 107 characters, fewer than many a temporary folder of a test has.
        self.directory = Path(tempfile.mkdtemp(prefix="tiermesh-pg-", dir="/tmp"))
        self._user = _NOBODY if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self.directory, self._user, self._user)
        self._programs = self._find_programs()
        self._data = (kept or self.directory) / "data"
        self._settings = {"fsync": "on" if durable else "off"} | dict(settings or {})
        if self._data.exists():
            return
        if kept is not None and self._user is not None:
            os.chown(kept, self._user, self._user)
        self._run(
            "initdb", "--pgdata", self._data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"
        )

    @property
    def url(self) -> str:
        """The server's own database."""
        return f"postgresql://postgres@/postgres?host={self.directory}"

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        settings = [f"-k {self.directory}", "-h ''", *(f"-c {name}={value}" for name, value in self._settings.items())]
        self._run(
            *("pg_ctl", "start", "--pgdata", self._data, "--wait", f"--timeout={stretched(_START_SECONDS):.0f}"),
            *("--log", self.directory / "log", "--options", " ".join(settings)),
        )

    def stop(self) -> None:
        """Ends the server at once but in order: clients are thrown out."""
        self._run("pg_ctl", "stop", "--pgdata", self._data, "--mode=fast", "--wait")

    def kill(self) -> None:
        """Ends the server as a crash does: without writing anything; the next start recovers from its log."""
        self._run("pg_ctl", "stop", "--pgdata", self._data, "--mode=immediate", "--wait")

    def remove(self) -> None:
        """Ends the server if it runs and deletes its files."""
        if (self._data / "postmaster.pid").exists():
            if self._data.parent == self.directory:
                self.kill()
            else:
                self.stop()
        shutil.rmtree(self.directory)

    @property
    def pid(self) -> int:
        """The id of the server's first process."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def _find_programs(self) -> Path:
        installed = programs.postgres_installation()
        probe = subprocess.run(
            [installed / "bin" / "postgres", "-V"], check=False, user=self._user, capture_output=True
        )
        if probe.returncode == 0:
            return installed / "bin"
        # The environment lies in a directory that only root may enter.
        copy = self.directory / "programs"
        shutil.copytree(installed, copy, symlinks=True)
        return copy / "bin"

    def _run(self, program: str, *arguments: object) -> None:
        # The programs do not inherit the pipes that pytest captures, or the server would hold them open.
        with (self.directory / "commands").open("ab") as log:
            result = subprocess.run(
                [str(self._programs / program), *map(str, arguments)],
                check=False,
                stdout=log,
                stderr=log,
                user=self._user,
                group=self._user,
                cwd=self.directory,
            )
        if result.returncode:
            logs = [path.read_text() for path in (self.directory / "commands", self.directory / "log") if path.exists()]
            raise AssertionError(f"{program} failed:\n" + "\n".join(logs))


def client_program(name: str) -> Path:
    """Returns the path of one of PostgreSQL's own clients, such as `pg_dump`."""
    return programs.postgres_installation() / "bin" / name


def create_database(server_url: str, template: str = "template1") -> str:
    """Makes a database, as a copy of another one, and returns its URL."""
    name = f"test_{secrets.token_hex(6)}"
    execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    # str() would hide the password.
    return sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)


def execute(url: str, statement: str) -> None:
    """Runs one statement on a connection of its own, also while an event loop runs in this thread."""

    async def run() -> None:
        connection: Any = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    run_apart(run())
