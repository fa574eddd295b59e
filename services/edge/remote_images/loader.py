"""Loads all images of one request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from services.common.errors import MeshError
from services.edge.http.parsing import invalid
from services.edge.remote_images.data_url import decode_data_url, is_data_url
from services.edge.remote_images.fetcher import ImageFetcher
from services.edge.remote_images.limits import ImageLimits, check_image
from services.edge.remote_images.turns import FairTurns


class ImageSource(NamedTuple):
    """An image that a request names."""

    url: str
    # Where the URL stands in the body: `messages[0].content[1].image_url.url`.
    param: str


class ImageLoader:
    """Loads images within limits. Remote ones take `turns`, which all requests share.

    Images are fetched before anything is paid for, so it must not be possible to fill an edge's memory with them.
    """

    def __init__(self, fetcher: ImageFetcher, limits: ImageLimits, turns: FairTurns) -> None:
        self._fetcher = fetcher
        self._limits = limits
        self._turns = turns

    async def load(
        self, sources: Sequence[ImageSource], account_id: str, take: Callable[[int], None] = lambda _: None
    ) -> list[bytes]:
        """Returns the images of an account's request in the same order; none is decoded.

        Without an account, none is fetched.
        `take` is called with the bytes of each that was fetched, and may raise MeshError. Nothing is fetched before all
        that the request itself holds is found to be right. Raises MeshError INVALID_REQUEST, with the param of the
        image at fault, as soon as one cannot be had, and OVERLOADED.
        """
        limits = self._limits
        if len(sources) > limits.images:
            param = sources[limits.images].param
            raise invalid(param, f"'{param}' is one image too many: at most {limits.images} are allowed; send fewer.")
        total = _Total(limits.bytes_together)
        images = [self._inline(source, total) for source in sources]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    at: group.create_task(self._remote(source, total, account_id, take))
                    for at, (source, image) in enumerate(zip(sources, images, strict=True))
                    if image is None
                }
        except* MeshError as errors:
            raise _first(errors) from None
        return [tasks[at].result() if image is None else image for at, image in enumerate(images)]

    def _inline(self, source: ImageSource, total: _Total) -> bytes | None:
        """Returns an image that is in the request, or None for a URL that may be fetched."""
        with _refusing(source):
            if not is_data_url(source.url):
                self._fetcher.check(source.url)
                return None
            return self._checked(decode_data_url(source.url, self._limits.bytes_each), total)

    async def _remote(self, source: ImageSource, total: _Total, account_id: str, take: Callable[[int], None]) -> bytes:
        with _refusing(source):
            if not account_id:
                # Who has not paid yet cannot make this edge fetch anything.
                raise ValueError("is a URL, which only requests with an API key may have. Send it as a data: URL")
            async with self._turns.turn(account_id):
                image = await self._fetcher.fetch(source.url, self._limits.bytes_each)
            take(len(image))
            return self._checked(image, total)

    def _checked(self, image: bytes, total: _Total) -> bytes:
        check_image(image, self._limits)
        total.add(len(image))
        return image


@contextmanager
def _refusing(source: ImageSource) -> Iterator[None]:
    """Raises a ValueError from within as the refusal of an image."""
    try:
        yield
    except ValueError as error:
        # The URL itself may hold a secret, so only its place is named.
        raise invalid(source.param, f"The image at '{source.param}' {error}.") from None


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
