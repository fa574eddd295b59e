"""Runs `tiermesh` commands in forks of one process that has imported them: importing takes longer than most commands.

The tests ask for hundreds of commands. Each runs in a process of its own, with its own output and exit status, as it
does for a person. This is not for commands that start other processes, such as `tiermesh up`.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO

from tests.support.deadlines import stretched

_COMMAND_SECONDS = 30.0
_BACKLOG = 128
_CHUNK_BYTES = 65_536
_starting = threading.Lock()


def run_forked(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, here and in this environment; raises TimeoutError if that takes too long."""
    with _starting:
        address = _forking_server().address
    request = {"arguments": arguments, "environ": dict(os.environ), "directory": str(Path.cwd())}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(stretched(_COMMAND_SECONDS))
        connection.connect(address)
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(socket.SHUT_WR)
        answer = json.loads(_read(connection))
    return subprocess.CompletedProcess(["tiermesh", *arguments], **answer)


class _ForkingServer:
    """The process that forks for each connection to its socket. It ends with the process that has started it."""

    def __init__(self) -> None:
        # The path of a socket may have 107 characters, fewer than many a temporary folder of a test has.
        self.address = str(Path(tempfile.mkdtemp(prefix="tiermesh-commands-", dir="/tmp")) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen(_BACKLOG)
            # Its standard input ends with this process, however this process ends.
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(listener.fileno()), self.address],
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                cwd=Path(__file__).parents[2],
            )


@cache
def _forking_server() -> _ForkingServer:
    return _ForkingServer()


def _read(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(_CHUNK_BYTES):
        parts.append(part)
    return b"".join(parts)


def _serve(listener: socket.socket) -> None:
    import services.cli.__main__  # noqa: F401 - imported once, for all that are forked

    # The kernel buries the children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                _answer(connection)
                os._exit(0)


def _answer(connection: socket.socket) -> None:
    """Runs one command in a child, and sends what it wrote and how it ended."""
    request = json.loads(_read(connection))
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            connection.close()
            os.dup2(output.fileno(), sys.stdout.fileno())
            os.dup2(errors.fileno(), sys.stderr.fileno())
            os.environ.clear()
            os.environ.update(request["environ"])
            os.chdir(request["directory"])
            _run(request["arguments"])
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer = {"returncode": status, "stdout": _content(output), "stderr": _content(errors)}
    connection.sendall(json.dumps(answer).encode())


def _run(arguments: Sequence[str]) -> None:
    """Becomes the command; never returns."""
    from services.cli.__main__ import main

    status = 1
    try:
        main.main(list(arguments), prog_name="tiermesh")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
    shutil.rmtree(Path(sys.argv[2]).parent)
