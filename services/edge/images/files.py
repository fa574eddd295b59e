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
from collections.abc import Callable
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

    async def keep(self, image: bytes, form: str, owner: str) -> SignedPath:
        """Stores an image of an account and returns where it can be fetched.

        Raises MeshError UNAVAILABLE if it cannot be stored.
        """
        now = self._clock()
        name = f"{self._new_id()}.{form}"
        expires = math.ceil(now + self._seconds)
        await self._storage.put(name, image, owner=owner, expires=expires, now=now)
        return SignedPath(name, expires, self._sign(name, expires))

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
