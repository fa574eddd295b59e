"""The images in the messages of a chat body."""

from __future__ import annotations

from services.edge.chat.request import ChatBody, ImagePart
from services.edge.remote_images import ImageLoader, ImageSource


async def load_images(body: ChatBody, loader: ImageLoader, account_id: str) -> list[bytes]:
    """Returns the images in the order of the conversation; raises MeshError INVALID_REQUEST if one cannot be had."""
    sources = [
        ImageSource(part.image_url.url, f"messages[{index}].content[{at}].image_url.url")
        for index, message in enumerate(body.messages)
        if isinstance(message.content, list)
        for at, part in enumerate(message.content)
        if isinstance(part, ImagePart)
    ]
    return await loader.load(sources, account_id) if sources else []
