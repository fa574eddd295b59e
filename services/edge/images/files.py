"""Images that are fetched by URL: kept for a while, in memory or in a directory, and given to whoever has the URL.

A URL holds a random id, the second at which it expires and an HMAC-SHA256 over both (RFC 2104), so that ids cannot be
guessed and lifetimes cannot be extended. Nothing in it tells of the prompt or the account.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.common.clock import Clock
from services.common.errors import Code, MeshError
from services.edge.images.storage import IMAGE_NAME, DirectoryStorage, ImageStorage, MemoryStorage
from services.edge.settings import EdgeSettings

_DIGITS = re.compile(r"[0-9]{1,15}")

CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class SignedPath:
    """The last part of an image's URL."""

    name: str
    # Seconds since the Unix epoch.
    expires: int
    signature: str

    def __str__(self) -> str:
        return f"{self.name}?expires={self.expires}&signature={self.signature}"


class Album:
    """The images of one request."""

    def __init__(
        self,
        storage: ImageStorage,
        owner: str,
        reserved: int,
        new_path: Callable[[str], SignedPath],
        clock: Clock,
    ) -> None:
        self._storage = storage
        self._owner = owner
        # Bytes that are set aside and not used yet.
        self._reserved = reserved
        self._new_path = new_path
        self._clock = clock
        self._names: list[str] = []

    async def keep(self, image: bytes, form: str) -> SignedPath:
        """Stores an image and returns where it can be fetched; raises MeshError UNAVAILABLE if it cannot be stored."""
        self._use(min(self._reserved, len(image)))
        path = self._new_path(form)
        await self._storage.put(path.name, image, owner=self._owner, expires=path.expires, now=self._clock())
        self._names.append(path.name)
        return path

    async def forget(self) -> None:
        """Deletes what was stored."""
        for name in self._names:
            await self._storage.delete(name)

    def close(self) -> None:
        """Gives back what was set aside and is not needed."""
        self._use(self._reserved)

    def _use(self, count: int) -> None:
        self._reserved -= count
        self._storage.release(self._owner, count)


class ImageFiles:
    """Keeps images for `seconds`. `key` signs; all edges that share a directory must share the key too."""

    def __init__(
        self,
        storage: ImageStorage,
        key: bytes,
        seconds: float,
        clock: Clock,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._storage = storage
        self._key = key
        self._seconds = seconds
        self._clock = clock
        self._new_id = new_id

    @asynccontextmanager
    async def album(self, owner: str, expected_bytes: int) -> AsyncIterator[Album]:
        """Opens a place for the images of one request of an account; they are forgotten again if the request fails.

        Raises MeshError UNAVAILABLE if there is no room for as many bytes as are expected, before anything is made.
        """
        self._storage.reserve(owner, expected_bytes, self._clock())
        album = Album(self._storage, owner, expected_bytes, self._new_path, self._clock)
        try:
            yield album
        except BaseException:
            await album.forget()
            raise
        finally:
            album.close()

    async def fetch(self, name: str, expires: str, signature: str) -> tuple[bytes, str]:
        """Returns an image and its content type; raises MeshError NOT_FOUND for a URL that is wrong or has expired."""
        match = IMAGE_NAME.fullmatch(name)
        if not match or not _DIGITS.fullmatch(expires) or not signature.isascii():
            raise _gone()
        genuine = hmac.compare_digest(self._sign(name, int(expires)), signature)
        if not genuine or int(expires) <= self._clock():
            raise _gone()
        image = await self._storage.get(name)
        if image is None:
            raise _gone()
        return image, CONTENT_TYPES[match[1]]

    def _new_path(self, form: str) -> SignedPath:
        name, expires = f"{self._new_id()}.{form}", math.ceil(self._clock() + self._seconds)
        return SignedPath(name, expires, self._sign(name, expires))

    def _sign(self, name: str, expires: int) -> str:
        return hmac.new(self._key, f"{name}\n{expires}".encode(), hashlib.sha256).hexdigest()


def image_files(settings: EdgeSettings, clock: Clock) -> ImageFiles:
    """Returns the files as the operator wants them kept."""
    storage = (
        DirectoryStorage(Path(settings.image_directory))
        if settings.image_directory
        else MemoryStorage(settings.image_memory_bytes)
    )
    key = settings.image_signing_key.encode() or secrets.token_bytes(32)
    return ImageFiles(storage, key, settings.image_url_seconds, clock)


def _gone() -> MeshError:
    message = "There is no image at this URL, or it has expired. Fetch images soon after they are made."
    return MeshError(Code.NOT_FOUND, message)
