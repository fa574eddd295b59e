"""How many and how large images may be."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.image_header import read_header


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """Limits of one request, whichever way its images come."""

    images: int = 10
    # Of one image, and of all of them together.
    bytes_each: int = 10 * 1024 * 1024
    bytes_together: int = 20 * 1024 * 1024
    # Of one image: a decoder needs several bytes for each.
    pixels: int = 20_000_000


def check_image(image: bytes, limits: ImageLimits) -> None:
    """Raises ValueError, as the end of a sentence, if this is not an image that a model may be shown."""
    try:
        header = read_header(image)
    except ValueError as error:
        raise ValueError(f"cannot be shown to the model: {error}") from None
    if header.pixels > limits.pixels:
        size = f"{header.width} x {header.height}"
        raise ValueError(f"has {size} pixels; at most {limits.pixels:,} are allowed: send it smaller")
