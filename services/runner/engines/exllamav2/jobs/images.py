"""Images in prompts: bytes → pictures on the prompts' thread, pictures → embeddings on the GPU's.

The library gives every picture a range of token ids of its own, which stand in the prompt where the picture is.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.common.image_header import read_header
from services.runner.refusals import invalid

if TYPE_CHECKING:
    from services.runner.engines.exllamav2.backend import Backend

# Embeddings that are kept: a conversation sends its pictures with every turn, and the same token ids let the
# generator find the pages of the turn before.
_KEPT = 32
_LARGEST_SIDE = 16384


@dataclass(frozen=True, slots=True)
class Image:
    """A decoded picture, with the digest of the bytes that it came from."""

    picture: Any
    digest: bytes


def read_image(data: bytes) -> Image:
    """Decodes a picture as a viewer shows it; raises MeshError INVALID_REQUEST if it is none."""
    from services.runner.kinds.text.images.picture import read_picture

    try:
        header = read_header(data)
        if max(header.width, header.height) > _LARGEST_SIDE:
            message = f"'messages' hold an image of more than {_LARGEST_SIDE} pixels a side; send it smaller."
            raise invalid(message, "messages")
        picture = read_picture(data)
    except ValueError:
        message = "'messages' hold an image that cannot be decoded; send PNG, JPEG, WebP or GIF."
        raise invalid(message, "messages") from None
    return Image(picture, hashlib.sha256(data).digest())


class Images:
    """Embeds pictures; used by the engine's thread alone."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._embeddings: OrderedDict[bytes, Any] = OrderedDict()

    def join(self, parts: Sequence[list[int]], images: Sequence[Image]) -> tuple[list[int], list[Any]]:
        """Returns the tokens of a whole prompt, and the embeddings that some of them stand for."""
        embeddings = [self._embed(image) for image in images]
        token_ids = list(parts[0])
        for embedding, part in zip(embeddings, parts[1:], strict=True):
            token_ids += embedding.get_ids()
            token_ids += part
        return token_ids, embeddings

    def count(self, images: Sequence[Image]) -> int:
        """Returns how many tokens some images are, together."""
        return sum(len(self._embed(image).get_ids()) for image in images)

    def _embed(self, image: Image) -> Any:
        embedding = self._embeddings.get(image.digest)
        if embedding is None:
            backend = self._backend
            embedding = backend.vision_tower.get_image_embeddings(backend.model, backend.tokenizer, image.picture)
            self._embeddings[image.digest] = embedding
            if len(self._embeddings) > _KEPT:
                self._embeddings.popitem(last=False)
        self._embeddings.move_to_end(image.digest)
        return embedding
