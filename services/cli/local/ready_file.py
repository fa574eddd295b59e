"""The file that tells scripts and tests that a mesh serves, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.cli.errors import CliError
from services.cli.state import write_private_json


class ReadyFile:
    """Exists exactly while the mesh serves; without a path it does nothing."""

    def __init__(self, path: Path | None) -> None:
        # Absolute, so that it is also found after a change of directory.
        self._path = path.absolute() if path else None
        self._content: dict[str, Any] | None = None

    def publish(self, content: Mapping[str, Any]) -> None:
        """Writes the file, replacing it as a whole; raises CliError."""
        self._content = dict(content)
        if self._path is not None:
            try:
                write_private_json(self._path, self._content)
            except OSError as error:
                raise CliError(
                    f"Cannot write the ready file {self._path}: {error.strerror}. Choose another one with --ready-file."
                ) from error

    def update(self, pids: Mapping[str, int]) -> None:
        """Writes the file anew with other process ids; nothing before the first `publish`."""
        if self._content is not None:
            self.publish({**self._content, "pids": dict(pids)})

    def remove(self) -> None:
        """Deletes the file, also one that a killed predecessor left; raises CliError where it could not be written."""
        self._content = None
        if self._path is not None:
            try:
                # Fails for a missing folder, which is better said before the start than after it.
                self._path.parent.stat()
                self._path.unlink(missing_ok=True)
            except OSError as error:
                raise CliError(
                    f"Cannot write the ready file {self._path}: {error.strerror}. Choose another one with --ready-file."
                ) from error
