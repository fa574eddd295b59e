"""The images of a conversation.

In a prompt each image is one marker; engines put the image in its place, with whatever tokens their model wants around
it. Templates therefore never see that there are images, and the placeholders that some of them write, which users could
write as well, are not used.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from services.common.image_header import read_header
from services.runner.refusals import unchecked
from tiermesh.runner.v1 import runner_pb2

# Edges have lower limits of their own; these keep a runner alive whatever it is sent.
MOST_IMAGES = 64
MOST_PIXELS = 50_000_000


def random_marker() -> str:
    """Returns a marker that nobody can guess."""
    return f"image-{secrets.token_hex(16)}"


def read_images(messages: Sequence[runner_pb2.Message]) -> tuple[bytes, ...]:
    """Returns the encoded images in the order of the conversation; raises MeshError INVALID_REQUEST."""
    images = []
    for at, message in enumerate(messages):
        for position, part in enumerate(message.parts):
            if part.WhichOneof("part") == "image":
                _check(part.image, f"messages[{at}].content[{position}].image_url.url")
                images.append(part.image)
    if len(images) > MOST_IMAGES:
        raise unchecked("messages")
    return tuple(images)


def text_with_markers(message: runner_pb2.Message, marker: str) -> str:
    """Returns the content of a message with the marker in place of each image."""
    if not message.parts:
        return message.content
    return "".join(marker if part.WhichOneof("part") == "image" else part.text for part in message.parts)


def _check(image: bytes, param: str) -> None:
    try:
        pixels = read_header(image).pixels
    except ValueError:
        raise unchecked(param) from None
    if pixels > MOST_PIXELS:
        raise unchecked(param)
