"""Whether what a server sends is an image of the wanted size, and how it gets the wanted format."""

from __future__ import annotations

import base64
import io
from typing import Any

from services.runner.engines.upstream.events import UpstreamError

_PILLOW_FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
# Of what is read: there are formats that a decoder fetches files for.
_READABLE = tuple(_PILLOW_FORMATS.values())


class OtherSizeError(ValueError):
    """An image has another size than it should."""


def image_file(encoded: str, width: int, height: int, form: str) -> bytes:
    """Returns the file of an image in the format `form`, from base64; it decodes the image, which blocks.

    Raises OtherSizeError, and UpstreamError for what is no image.
    """
    from PIL import Image

    try:
        # Some servers send what browsers take.
        data = base64.b64decode(encoded.rpartition(",")[2], validate=True)
        with Image.open(io.BytesIO(data), formats=_READABLE) as image:
            # Before it is decoded, because a small file may be an image of any size.
            fits = image.size == (width, height)
            if fits:
                image.load()
                if image.format != _PILLOW_FORMATS[form]:
                    data = _converted(image, form)
    except Exception as error:
        # The library raises anything for what is no image.
        raise UpstreamError("an image that cannot be read") from error
    if not fits:
        raise OtherSizeError
    return data


def _converted(image: Any, form: str) -> bytes:
    buffer = io.BytesIO()
    # A JPEG cannot be transparent.
    (image.convert("RGB") if form == "jpeg" else image).save(buffer, _PILLOW_FORMATS[form])
    return buffer.getvalue()
