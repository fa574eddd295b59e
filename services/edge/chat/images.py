"""The images in the messages of a chat body, and the call that holds them."""

from __future__ import annotations

from services.common.catalog import Model
from services.edge.chat.call import generate_call
from services.edge.chat.request import ChatBody, ImagePart
from services.edge.http.bodies.memory import BodyShare
from services.edge.remote_images import ImageLoader, ImageSource
from tiermesh.runner.v1 import runner_pb2


async def call_with_images(
    body: ChatBody, model: Model, request_id: str, loader: ImageLoader, share: BodyShare
) -> tuple[runner_pb2.GenerateCall, tuple[str, ...]]:
    """Returns the call for all choices, with the images of the conversation, and what its runner must be able to do.

    What is fetched is taken from the share of memory, of which the call is what is kept. Raises MeshError
    INVALID_REQUEST if an image cannot be had, or NoMemoryError.
    """
    images = await _load_images(body, loader, share)
    call = generate_call(body, model, request_id, images=images)
    if not images:
        return call, ()
    share.keep(call.ByteSize())
    return call, ("vision",)


async def _load_images(body: ChatBody, loader: ImageLoader, share: BodyShare) -> list[bytes]:
    sources = [
        ImageSource(part.image_url.url, f"messages[{index}].content[{at}].image_url.url")
        for index, message in enumerate(body.messages)
        if isinstance(message.content, list)
        for at, part in enumerate(message.content)
        if isinstance(part, ImagePart)
    ]
    return await loader.load(sources, share.account_id, share.take) if sources else []
