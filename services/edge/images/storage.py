"""Where images wait to be fetched: this process's memory, or a directory that several edges may share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
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


class ImageStorage(Protocol):
    """Keeps images by name. Times are in seconds since the Unix epoch."""

    async def put(self, name: str, image: bytes, *, owner: str, expires: int, now: float) -> None:
        """Keeps an image at least until `expires`, as far as there is room, and forgets those that have expired.

        `owner` is whoever else's images should not have to make room for it.
        """

    async def get(self, name: str) -> bytes | None:
        """Returns an image, or None if it is not there any more."""


class _Kept(NamedTuple):
    image: bytes
    owner: str
    expires: int


@dataclass(slots=True)
class _Share:
    """What one owner has here: bytes, and names from the oldest on."""

    bytes: int = 0
    names: OrderedDict[str, None] = field(default_factory=OrderedDict)


class MemoryStorage:
    """Keeps at most `most_bytes`. Whoever has most there makes room for new images, by the oldest of theirs.

    So one owner alone may fill it, but can never push out the images of others that have less.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        # In the order of their expiry, because all are kept equally long.
        self._images: OrderedDict[str, _Kept] = OrderedDict()
        self._shares: dict[str, _Share] = {}

    async def put(self, name: str, image: bytes, *, owner: str, expires: int, now: float) -> None:
        """Keeps an image; one that is larger than the whole memory is gone at once."""
        share = self._shares.setdefault(owner, _Share())
        self._images[name] = _Kept(image, owner, expires)
        share.names[name] = None
        self._add(share, len(image))
        while self._images and next(iter(self._images.values())).expires <= now:
            self._forget(next(iter(self._images)))
        while self._bytes > self._most_bytes:
            largest = max(self._shares.values(), key=lambda share: share.bytes)
            self._forget(next(iter(largest.names)))

    async def get(self, name: str) -> bytes | None:
        """Returns an image, or None."""
        kept = self._images.get(name)
        return kept.image if kept else None

    def _forget(self, name: str) -> None:
        kept = self._images.pop(name)
        share = self._shares[kept.owner]
        del share.names[name]
        self._add(share, -len(kept.image))
        if not share.names:
            del self._shares[kept.owner]

    def _add(self, share: _Share, count: int) -> None:
        share.bytes += count
        self._bytes += count


class DirectoryStorage:
    """Keeps each image in a file, whose modification time is when it expires, so that any edge can delete it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

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
