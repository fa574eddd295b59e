"""Loads all images of one request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from services.common.errors import MeshError
from services.edge.parsing import invalid
from services.edge.remote_images.data_url import decode_data_url
from services.edge.remote_images.fetcher import ImageFetcher
from services.edge.remote_images.limits import ImageLimits, check_image


class ImageSource(NamedTuple):
    """An image that a request names."""

    url: str
    # Where the URL stands in the body: `messages[0].content[1].image_url.url`.
    param: str


class ImageLoader:
    """Loads images within limits."""

    def __init__(self, fetcher: ImageFetcher, limits: ImageLimits) -> None:
        self._fetcher = fetcher
        self._limits = limits

    async def load(self, sources: Sequence[ImageSource]) -> list[bytes]:
        """Returns the images in the same order, remote ones fetched at the same time; none is decoded.

        Raises MeshError INVALID_REQUEST, with the param of the image at fault, as soon as one cannot be had.
        """
        limits = self._limits
        if len(sources) > limits.images:
            message = f"The request holds {len(sources)} images; at most {limits.images} are allowed."
            raise invalid(sources[limits.images].param, message)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._load(source)) for source in sources]
        except* MeshError as errors:
            raise _first(errors) from None
        images = [task.result() for task in tasks]
        self._check_together(sources, images)
        return images

    async def _load(self, source: ImageSource) -> bytes:
        most = self._limits.bytes_each
        try:
            if source.url[:5].lower() == "data:":
                image = decode_data_url(source.url, most)
            else:
                image = await self._fetcher.fetch(source.url, most)
            check_image(image, self._limits)
        except ValueError as error:
            # The URL itself may hold a secret, so only its place is named.
            raise invalid(source.param, f"The image at '{source.param}' {error}.") from None
        return image

    def _check_together(self, sources: Sequence[ImageSource], images: Sequence[bytes]) -> None:
        most = self._limits.bytes_together
        if sum(map(len, images)) > most:
            message = f"The images together are larger than the limit of {most:,} bytes; send fewer or smaller ones."
            raise invalid(sources[-1].param, message)


def _first(errors: BaseExceptionGroup[MeshError]) -> MeshError:
    """Returns the first error of a group, which may hold groups."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
