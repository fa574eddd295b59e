"""Another revision of this repository, ready to run with the packages that are installed here."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.mesh import HERE

HERE_NAME = "here"


class NoRevisionError(ValueError):
    """Git does not know a revision; the message says what it said."""


@contextmanager
def checkout_of(revision: str, repository: Path = HERE) -> Iterator[Path]:
    """Unpacks a revision, without its history, for as long as a `with` lasts; raises NoRevisionError."""
    command = ["git", "archive", "--format=tar", revision]
    archive = subprocess.run(command, cwd=repository, capture_output=True, check=False)
    if archive.returncode:
        raise NoRevisionError(f"git has no revision {revision!r} to compare with: {archive.stderr.decode().strip()}")
    with TemporaryDirectory(prefix="tiermesh-revision-") as folder:
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


@contextmanager
def checkouts(revision: str | None) -> Iterator[dict[str, Path]]:
    """Gives the folders of this checkout, which is "here", and of a revision if there is one, ready to run."""
    if revision is None:
        yield {HERE_NAME: HERE}
        return
    with checkout_of(revision) as checkout:
        _generate_protos(checkout)
        yield {HERE_NAME: HERE, revision: checkout}


def _generate_protos(checkout: Path) -> None:
    """Generates the package of the messages of a checkout."""
    subprocess.run([sys.executable, "protos/generate.py"], cwd=checkout, check=True)
