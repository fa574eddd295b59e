"""Loads all images of one request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from services.common.errors import MeshError
from services.edge.http.parsing import invalid
from services.edge.remote_images.data_url import decode_data_url
from services.edge.remote_images.fetcher import ImageFetcher
from services.edge.remote_images.limits import ImageLimits, check_image


class ImageSource(NamedTuple):
    """An image that a request names."""

    url: str
    # Where the URL stands in the body: `messages[0].content[1].image_url.url`.
    param: str


class ImageLoader:
    """Loads images within limits, at most `fetches` remote ones at a time for all requests together.

    Images are fetched before anything is paid for, so it must not be possible to fill an edge's memory with them.
    """

    def __init__(self, fetcher: ImageFetcher, limits: ImageLimits, *, fetches: int) -> None:
        self._fetcher = fetcher
        self._limits = limits
        self._turns = asyncio.Semaphore(fetches)

    async def load(self, sources: Sequence[ImageSource]) -> list[bytes]:
        """Returns the images in the same order, remote ones fetched at the same time; none is decoded.

        Raises MeshError INVALID_REQUEST, with the param of the image at fault, as soon as one cannot be had.
        """
        limits = self._limits
        if len(sources) > limits.images:
            message = f"The request holds {len(sources)} images; at most {limits.images} are allowed."
            raise invalid(sources[limits.images].param, message)
        total = _Total(limits.bytes_together)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._load(source, total)) for source in sources]
        except* MeshError as errors:
            raise _first(errors) from None
        return [task.result() for task in tasks]

    async def _load(self, source: ImageSource, total: _Total) -> bytes:
        most = self._limits.bytes_each
        try:
            if source.url[:5].lower() == "data:":
                image = decode_data_url(source.url, most)
            else:
                async with self._turns:
                    image = await self._fetcher.fetch(source.url, most)
            check_image(image, self._limits)
            total.add(len(image))
        except ValueError as error:
            # The URL itself may hold a secret, so only its place is named.
            raise invalid(source.param, f"The image at '{source.param}' {error}.") from None
        return image


class _Total:
    """The bytes of one request's images so far."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0

    def add(self, count: int) -> None:
        """Counts one image; raises ValueError once all together are too large, so that the others are not awaited."""
        self._bytes += count
        if self._bytes > self._most:
            raise ValueError(f"and those before it are larger than the limit of {self._most:,} bytes together")


def _first(errors: BaseExceptionGroup[MeshError]) -> MeshError:
    """Returns the first error of a group, which may hold groups."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
