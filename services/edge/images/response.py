"""The body that answers POST /v1/images/generations, as OpenAI defines it."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from services.edge.images.request import ImageFormat


class GeneratedImage(Struct, frozen=True, forbid_unknown_fields=True):
    """An image, either by URL or as base64."""

    url: str | UnsetType = UNSET
    b64_json: str | UnsetType = UNSET


class ImageList(Struct, frozen=True, forbid_unknown_fields=True):
    """The images of a request; `created` is in seconds since the Unix epoch."""

    created: int
    data: list[GeneratedImage]
    output_format: ImageFormat
