"""Turns an encoded image into the picture that a viewer shows: upright, and on white where it is transparent.

Decoders drop transparency and orientation unless they are asked, and a model then sees colours that nobody sees, or a
photograph that lies on its side.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops, ImageFile, ImageMath

from services.common.image_header import FORMATS, GIF, PNG, WEBP, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Box = tuple[int, int, int, int]

# What Pillow raises for damaged files.
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    TypeError,
    OverflowError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_WHITE = (255, 255, 255)
# EXIF 2.32, table 4, tag Orientation: how a picture has to be turned to be upright.
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Where a PNG may say how it has to be turned. Pillow has to decode the pixels to find the last of them.
_PNG_METADATA = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")


def is_plain(data: bytes) -> bool:
    """Whether any decoder shows this PNG or JPEG rightly: it is opaque and upright. No pixel is decoded.

    Raises ValueError if it is no image.
    """
    form = read_header(data).format
    if form in {GIF, WEBP} or (form == PNG and any(mark in data for mark in _PNG_METADATA)):
        return False
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return not image.has_transparency_data and image.mode != "I;16" and _turn(image) is None
    except _DAMAGE:
        raise ValueError("the image is damaged") from None


def read_picture(data: bytes) -> Image.Image:
    """Returns the picture, or the first of several, in RGB. Takes a while; raises ValueError for damage."""
    form = read_header(data).format
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            box = _first_frame(image, data, form)
            image.load()
            picture = _on_white(image, data, form)
            turn = _turn(image)
    except _DAMAGE:
        raise ValueError("the image is damaged") from None
    if box is not None and box != (0, 0, *picture.size):
        sheet = Image.new("RGB", picture.size, _WHITE)
        sheet.paste(picture.crop(box), box[:2])
        picture = sheet
    return picture if turn is None else picture.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - whatever is wrong with the metadata, the picture is there
        return None


def _on_white(image: Image.Image, data: bytes, form: str) -> Image.Image:
    # A PNG without a palette may name one colour that is transparent: https://www.w3.org/TR/png-3/#11tRNS.
    key = image.info.pop("transparency", None) if form == PNG and image.mode != "P" else None
    if key is not None:
        # The depth of a sample, in bits.
        mask = _pixels_of(image, (key,) if isinstance(key, int) else key, depth=data[24])
        picture = _opaque(image)
        picture.paste(_WHITE, mask=mask)
        return picture
    if not image.has_transparency_data:
        return _opaque(image)
    layer = image.convert("RGBA")
    picture = Image.new("RGB", layer.size, _WHITE)
    picture.paste(layer, mask=layer)
    return picture


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode == "I;16":
        # Pillow would make everything white that is brighter than 255 of 65,535.
        image = _computed(image, lambda level: level / 256)
    return image.convert("RGB")


def _pixels_of(image: Image.Image, key: Sequence[int], depth: int) -> Image.Image:
    """Returns a mask of the pixels that have one colour, whose samples have `depth` bits."""
    if image.mode == "I;16":
        return _computed(image, lambda level: (level == key[0]) * 255)
    bands = (image.convert("L") if image.mode == "1" else image).split()
    mask = Image.new("L", image.size, 255)
    for band, sample in zip(bands, key, strict=True):
        value = _eight_bits(sample, depth)
        mask = ImageChops.darker(mask, band.point([255 * (level == value) for level in range(256)]))
    return mask


def _eight_bits(sample: int, depth: int) -> int:
    """Returns what Pillow makes of a sample. It has done so already with the colour that it names for depth 1."""
    if depth > 8:
        return sample >> depth - 8
    return sample if depth == 1 else sample * 255 // (2**depth - 1)


def _computed(image: Image.Image, function: Callable[[Any], Any]) -> Image.Image:
    """Returns a picture of 8 bits whose levels are a function of those of a picture of 16 bits."""
    result: Image.Image = ImageMath.lambda_eval(lambda bands: function(bands["image"]), image=image.convert("I"))
    return result.convert("L")


def _first_frame(image: Image.Image, data: bytes, form: str) -> Box | None:
    """Returns where the first frame of an animation lies. Nothing is painted around it, whatever decoders put there."""
    if form == GIF and isinstance(image, ImageFile.ImageFile) and image.tile:
        return image.tile[0].extents
    if form == WEBP and (at := data.find(b"ANMF", 12)) > 0:
        # https://developers.google.com/speed/webp/docs/riff_container: half the left and the top, width and height - 1.
        left, top, right, bottom = (int.from_bytes(data[at + 8 + 3 * n : at + 11 + 3 * n], "little") for n in range(4))
        return 2 * left, 2 * top, 2 * left + right + 1, 2 * top + bottom + 1
    return None
