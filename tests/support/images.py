"""Small images for tests."""

from __future__ import annotations

import io

from PIL import Image

COLOURS = {
    "red": (250, 10, 10),
    "green": (10, 240, 10),
    "blue": (5, 5, 250),
    "yellow": (250, 250, 5),
    "white": (250, 250, 250),
    "black": (3, 3, 3),
}


def plain_image(colour: str = "red", size: tuple[int, int] = (64, 64), form: str = "PNG") -> bytes:
    """Returns an image of one colour as a file of the format."""
    file = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(file, form)
    return file.getvalue()
