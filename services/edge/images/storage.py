"""Where images wait to be fetched: this process's memory, or a directory that several edges may share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from collections import Counter, OrderedDict
from pathlib import Path
from typing import NamedTuple, Protocol

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger

log = get_logger()

# What the file of an image is called; the group is its format.
IMAGE_NAME = re.compile(r"[0-9a-f]{32}\.(png|jpeg|webp)")
# What a draft is called, and for how many seconds it is somebody's who is still writing.
_DRAFT = re.compile(r"\.[0-9a-f]{16}")
_DRAFT_SECONDS = 3600.0
# When to try again where there is no room.
_FULL_RETRY_SECONDS = 60.0


class ImageStorage(Protocol):
    """Keeps images by name. Times are in seconds since the Unix epoch."""

    def reserve(self, owner: str, count: int, now: float) -> None:
        """Sets bytes aside for an account; raises MeshError UNAVAILABLE if there are not so many.

        What was reserved must be released.
        """

    def release(self, owner: str, count: int) -> None:
        """Gives back what was reserved."""

    async def put(self, name: str, image: bytes, *, owner: str, expires: int, now: float) -> None:
        """Keeps an image until `expires`, and forgets those that have expired.

        Raises MeshError UNAVAILABLE if it cannot be kept so long: nothing that is kept makes room for it.
        """

    async def get(self, name: str) -> bytes | None:
        """Returns an image, or None if it is not there any more."""

    async def delete(self, name: str) -> None:
        """Forgets an image; harmless if it is not there."""


class _Kept(NamedTuple):
    image: bytes
    owner: str
    expires: int


class MemoryStorage:
    """Keeps at most `most_bytes`, of which one account may have half.

    An image whose URL was sold stays until it expires, so what does not fit is refused.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._most_of_owner = most_bytes // 2
        # In the order of their expiry, because all are kept equally long.
        self._images: OrderedDict[str, _Kept] = OrderedDict()
        # Bytes by account, kept and reserved.
        self._taken: Counter[str] = Counter()

    def reserve(self, owner: str, count: int, now: float) -> None:
        """Sets bytes aside; raises MeshError UNAVAILABLE if there are not so many."""
        self._forget_expired(now)
        if self._taken[owner] + count > self._most_of_owner or self._taken.total() + count > self._most_bytes:
            raise _no_room()
        self._taken[owner] += count

    def release(self, owner: str, count: int) -> None:
        """Gives back what was reserved."""
        self._taken[owner] -= count
        if not self._taken[owner]:
            del self._taken[owner]

    async def put(self, name: str, image: bytes, *, owner: str, expires: int, now: float) -> None:
        """Keeps an image; raises MeshError UNAVAILABLE if there is no room."""
        self.reserve(owner, len(image), now)
        self._images[name] = _Kept(image, owner, expires)

    async def get(self, name: str) -> bytes | None:
        """Returns an image, or None."""
        kept = self._images.get(name)
        return kept.image if kept else None

    async def delete(self, name: str) -> None:
        """Forgets an image."""
        if name in self._images:
            self._forget(name)

    def _forget_expired(self, now: float) -> None:
        while self._images and next(iter(self._images.values())).expires <= now:
            self._forget(next(iter(self._images)))

    def _forget(self, name: str) -> None:
        kept = self._images.pop(name)
        self.release(kept.owner, len(kept.image))


class DirectoryStorage:
    """Keeps each image in a file, whose modification time is when it expires, so that any edge can delete it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def reserve(self, owner: str, count: int, now: float) -> None:
        """Does nothing: how much room a directory has is told by writing to it."""

    def release(self, owner: str, count: int) -> None:
        """Does nothing."""

    async def put(self, name: str, image: bytes, *, owner: str, expires: int, now: float) -> None:
        """Writes an image, whoever's it is; raises MeshError UNAVAILABLE if the directory cannot be written."""
        del owner
        try:
            await asyncio.to_thread(self._write, name, image, expires, now)
        except OSError as error:
            log.error("image_not_stored", reason=error.strerror)  # noqa: TRY400 - a traceback says nothing more
            message = "The image could not be stored; ask for response_format 'b64_json', or try again later."
            raise MeshError(Code.UNAVAILABLE, message) from error

    async def get(self, name: str) -> bytes | None:
        """Reads an image, or returns None."""
        try:
            return await asyncio.to_thread((self._directory / name).read_bytes)
        except OSError:
            return None

    async def delete(self, name: str) -> None:
        """Deletes the file of an image."""
        await asyncio.to_thread((self._directory / name).unlink, missing_ok=True)

    def _write(self, name: str, image: bytes, expires: int, now: float) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Nobody ever reads half an image.
        draft = self._directory / f".{secrets.token_hex(8)}"
        try:
            draft.write_bytes(image)
            os.utime(draft, (expires, expires))
            draft.rename(self._directory / name)
        finally:
            draft.unlink(missing_ok=True)
        self._sweep(now)

    def _sweep(self, now: float) -> None:
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if IMAGE_NAME.fullmatch(entry.name):
                    forgotten = now
                elif _DRAFT.fullmatch(entry.name):
                    forgotten = now - _DRAFT_SECONDS
                else:
                    # Whatever else the operator keeps there is not ours.
                    continue
                # Another edge may have been faster.
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_file() and entry.stat().st_mtime <= forgotten:
                        Path(entry.path).unlink()


def _no_room() -> MeshError:
    message = (
        "There is no room for more images until earlier ones expire. Ask for response_format 'b64_json', "
        "or try again later."
    )
    return MeshError(Code.UNAVAILABLE, message, retry_after=_FULL_RETRY_SECONDS)
