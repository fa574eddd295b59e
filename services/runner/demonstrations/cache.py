"""A directory of models that are made at the first start and kept for later ones."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def made_once(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Returns the path of a file or folder in `cache`. If it is not there, `make` writes it to a path that it gets.

    It is made under another name and renamed, so that every reader finds it complete. Processes that start at the same
    time wait for each other. What a killed process has left is removed. Raises OSError if the cache cannot be written,
    and what `make` raises.
    """
    target = cache / name
    if target.exists():
        return target
    try:
        with _locked(cache):
            if not target.exists():
                unfinished = cache / f"{name}.unfinished"
                _remove(unfinished)
                make(unfinished)
                _write_through(unfinished)
                unfinished.rename(target)
    except OSError as error:
        raise OSError(
            f"the model cannot be kept in {cache} ({error.strerror or error}); name a directory that can be written in "
            "TIERMESH_RUNNER_CACHE_DIR"
        ) from error
    return target


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Closing it frees the lock.
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_through(path: Path) -> None:
    """Has the operating system write the files to the disk: a rename may otherwise come before their content."""
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened)
