"""Files that only their owner may read, replaced as a whole so that no reader sees half of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


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
