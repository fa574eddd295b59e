"""The state directory of a local mesh: databases, credentials, logs, and the file that says where the mesh listens.

It is `.state` in the current directory unless `--state-dir` or `TIERMESH_STATE_DIR` says otherwise, so that each
checkout or project has a mesh of its own, and deleting the directory deletes all of it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from services.cli.errors import CliError
from services.common.settings import TlsSettings

T = TypeVar("T")


DEFAULT_STATE_DIRECTORY = ".state"
STATE_DIRECTORY_VARIABLE = "TIERMESH_STATE_DIR"


def write_private_json(path: Path, content: Any) -> None:
    """Writes a file of JSON as `write_private` does."""
    write_private(path, msgspec.json.format(msgspec.json.encode(content)) + b"\n")


def write_private(path: Path, content: bytes) -> None:
    """Writes the file atomically with mode 0600; raises OSError."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            # A key that was handed out must not be lost with the machine's power: it is stored nowhere else.
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def read_json(path: Path, kind: type[T]) -> T | None:
    """Reads a file of JSON; None if there is none. Raises OSError, and ValueError if the content is something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The account and key that `tiermesh up` made. The key is kept here because the mesh itself keeps only its hash."""

    account_id: str
    key_id: str
    api_key: str
    # Another key of the account, which signs in to the console; empty before that was first started.
    console_key_id: str = ""
    console_key: str = ""
    # An operator, who signs in to the operators' console; empty before that was first started.
    operator_id: str = ""
    operator_key: str = ""


class RunningChain(msgspec.Struct, frozen=True, kw_only=True):
    """The local chain of a mesh."""

    # The URL of its node, for JSON-RPC.
    url: str
    chain_id: int
    # The address of the test token's contract.
    token: str


class RunningMesh(msgspec.Struct, frozen=True, kw_only=True):
    """Where the mesh of this directory listens while it runs."""

    # With /v1, as OpenAI's clients want it.
    base_url: str
    # host:port of auth, billing, router, etcd and each runner.
    addresses: dict[str, str]
    # URLs for Prometheus, by service.
    metrics: dict[str, str]
    catalog_file: str
    # The operator's certificate files, where the mesh runs with mutual TLS.
    tls: TlsSettings = TlsSettings()
    # Of etcd's user root; empty where certificates are demanded instead.
    etcd_password: str = ""
    # The local chain, if there is one.
    chain: RunningChain | None = None
    # Of `tiermesh up`.
    pid: int


class StateDirectory:
    """Knows where everything is; makes nothing before `create`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.logs = self.path / "logs"
        self.etcd_data = self.path / "etcd"
        self.certificates = self.path / "tls"
        self.chain = self.path / "chain"
        # What is sold while a script answers.
        self.scripted_catalog = self.path / "scripted-models.json"
        # What is sold while the user's own models are served.
        self.own_catalog = self.path / "own-models.json"
        # The keys that sign receipts.
        self.receipt_keys = self.path / "receipt-keys.json"
        self._credentials = self.path / "credentials.json"
        self._mesh = self.path / "mesh.json"

    def database_url(self, service: str) -> str:
        """Returns the URL of a service's SQLite database."""
        return f"sqlite:///{self.path / service}.db"

    def create(self) -> None:
        """Makes the directory, private to its owner; raises CliError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            # The directory holds a key and usually lies inside somebody's repository.
            (self.path / ".gitignore").write_text("*\n", encoding="ascii")
        except OSError as error:
            raise CliError(
                f"Cannot write to the state directory {self.path}: {error.strerror}. Choose another with --state-dir."
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory for this process; raises CliError if another `tiermesh up` has it.

        The kernel lets go of the lock when the process ends, however it ends.
        """
        with (self.path / "lock").open("a+", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip()
                raise CliError(
                    f"Another `tiermesh up` (process {owner}) uses the state directory {self.path}. "
                    "Stop it, or choose another directory with --state-dir."
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def load_credentials(self) -> Credentials | None:
        """Returns what the first start saved; None before."""
        return _read(self._credentials, Credentials)

    def save_credentials(self, credentials: Credentials) -> None:
        """Keeps the credentials for the next start."""
        write_private_json(self._credentials, credentials)

    def load_mesh(self) -> RunningMesh | None:
        """Returns where the mesh listens; None if none runs."""
        return _read(self._mesh, RunningMesh)

    def save_mesh(self, mesh: RunningMesh) -> None:
        """Tells the management commands where the mesh listens."""
        write_private_json(self._mesh, mesh)

    def forget_mesh(self) -> None:
        """Says that no mesh runs here any more."""
        self._mesh.unlink(missing_ok=True)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return read_json(path, kind)
    except OSError as error:
        raise CliError(f"Cannot read {path}: {error.strerror}. Restore the file or delete it.") from error
    except ValueError as error:
        raise CliError(f"{error}. Restore the file or delete it.") from error


def certificate_files(directory: Path) -> TlsSettings:
    """Returns the paths of one part's files in its directory."""
    return TlsSettings(
        ca_file=str(directory / "ca.crt"), cert_file=str(directory / "tls.crt"), key_file=str(directory / "tls.key")
    )
