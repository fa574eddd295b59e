"""The body of POST /v1/images/generations: OpenAI's, with the seed, steps and negative prompt of open models."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from services.edge.http.parsing import invalid

# Latent diffusion models work on blocks of 8 pixels.
_BLOCK = 8
_SIZE = re.compile(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})")

# Each is charged by itself.
MOST_IMAGES = 10
ImageFormat = Literal["png", "jpeg", "webp"]


class Size(Struct, frozen=True):
    """Width and height in pixels."""

    width: int
    height: int


class ImageBody(Struct, frozen=True):
    """The whole body. None and absent mean the same for every optional field."""

    model: str
    prompt: Annotated[str, Meta(min_length=1, max_length=32_000)]
    n: Annotated[int, Meta(ge=1, le=MOST_IMAGES)] | None = None
    # "256x256" and the like, or "auto".
    size: str | None = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: ImageFormat | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    steps: Annotated[int, Meta(ge=1, le=1000)] | None = None
    negative_prompt: Annotated[str, Meta(max_length=32_000)] | None = None
    # Known to OpenAI's own models only: without effect, as far as they ask for nothing that an image here has not.
    quality: Literal["auto", "low", "medium", "high", "standard", "hd"] | None = None
    style: Literal["natural", "vivid"] | None = None
    background: Literal["auto", "opaque"] | None = None
    moderation: Literal["auto", "low"] | None = None
    output_compression: Literal[100] | None = None
    # Of a stream, and there is none.
    partial_images: Literal[0] | None = None
    user: str | None = None
    stream: Literal[False] | None = None


image_decoder = msgspec.json.Decoder(ImageBody)


def check_steps(steps: int | None, most: int) -> None:
    """Raises MeshError INVALID_REQUEST for more denoising steps than the operator allows."""
    if steps is not None and steps > most:
        raise invalid("steps", f"'steps' is {steps}. Send at most {most}.")


def read_size(size: str | None, *, default: str, most_pixels: int) -> Size:
    """Returns the size that is asked for; raises MeshError INVALID_REQUEST for one that cannot be made."""
    text = default if size in {None, "auto"} else size or ""
    match = _SIZE.fullmatch(text)
    if not match:
        raise invalid("size", f"'size' must be width x height, such as '{default}', or 'auto'.")
    found = Size(int(match[1]), int(match[2]))
    if found.width % _BLOCK or found.height % _BLOCK:
        raise invalid("size", f"Both numbers of 'size' must be multiples of {_BLOCK}; {text} is not.")
    if found.width * found.height > most_pixels:
        raise invalid("size", f"'size' {text} has too many pixels. Send at most {most_pixels} pixels.")
    return found
