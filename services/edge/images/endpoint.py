"""Serves image generation; each image is priced by itself."""

from __future__ import annotations

import base64
from typing import Literal

import msgspec
from aiohttp import web

from services.common.catalog import Model
from services.common.clock import Clock
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.http.bodies.incoming import read_json
from services.edge.http.parsing import parse_body
from services.edge.images.files import Album, ImageFiles
from services.edge.images.request import ImageBody, ImageFormat, Size, check_steps, image_decoder, read_size
from services.edge.images.response import GeneratedImage, ImageList
from services.edge.paid.delivery import receipt_headers
from services.edge.paid.path import Order, PaidPath
from services.edge.settings import EdgeSettings
from tiermesh.runner.v1 import runner_pb2

# Where images are fetched, below the base URL.
FILES_PATH = "/images/files/"
# What a pixel takes in a PNG of a picture, roughly; the other formats take less.
_BYTES_OF_PIXEL = 2


class Images:
    """Serves POST /v1/images/generations for requests whose key is good, and the files for whoever has a URL."""

    def __init__(self, path: PaidPath, files: ImageFiles, settings: EdgeSettings, clock: Clock) -> None:
        self._path = path
        self._files = files
        self._settings = settings
        self._clock = clock

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.Response:
        """Answers one request; raises MeshError for anything that goes wrong."""
        body = parse_body(await read_json(request), image_decoder)
        model = self._path.find_model(body.model, "image", principal)
        settings = self._settings
        size = read_size(body.size, default=settings.image_size, most_pixels=settings.image_most_pixels)
        check_steps(body.steps, settings.image_most_steps)
        form: ImageFormat = body.output_format or "png"
        calls = [image_call(body, model, size, form, context.request_id, index) for index in range(body.n or 1)]
        order = Order(
            request=request,
            context=context,
            principal=principal,
            model=model,
            calls=calls,
            quantity=len(calls),
        )
        wanted: Literal["url", "b64_json"] = body.response_format or settings.image_response
        expected = len(calls) * size.width * size.height * _BYTES_OF_PIXEL if wanted == "url" else 0
        opened = self._path.open(order)
        # Room is looked for before the work, and each image is stored before it is charged: what cannot be fetched is
        # not sold.
        async with self._files.album(opened.account_id, expected) as album, opened as delivery:
            while not delivery.complete:
                await delivery.next_steps()
            data = [await self._image(request, last.image, form, wanted, album) for last in delivery.last_replies]
            receipt = await delivery.settle()
        content = msgspec.json.encode(ImageList(int(self._clock()), data, form))
        headers = {**receipt_headers(receipt), **delivery.header(content)}
        return web.Response(body=content, content_type="application/json", headers=headers)

    async def file(self, request: web.Request) -> web.Response:
        """Answers GET /v1/images/files/…; raises MeshError NOT_FOUND."""
        query = request.query
        image, content_type = await self._files.fetch(
            request.match_info["name"], query.get("expires", ""), query.get("signature", "")
        )
        # Whatever the bytes are, a browser shows them as an image or not at all.
        headers = {"Cache-Control": "private, max-age=300", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=image, content_type=content_type, headers=headers)

    async def _image(
        self, request: web.Request, image: bytes, form: ImageFormat, wanted: Literal["url", "b64_json"], album: Album
    ) -> GeneratedImage:
        if wanted == "b64_json":
            return GeneratedImage(b64_json=base64.b64encode(image).decode())
        signed = await album.keep(image, form)
        base = self._settings.image_base_url or f"{request.scheme}://{request.host}{_prefix(request.path)}"
        return GeneratedImage(url=f"{base.rstrip('/')}{FILES_PATH}{signed}")


def _prefix(path: str) -> str:
    """Returns what precedes the route: /v1 or /api/v1."""
    return path.partition("/images/")[0]


def image_call(
    body: ImageBody, model: Model, size: Size, form: ImageFormat, request_id: str, index: int
) -> runner_pb2.GenerateCall:
    """Returns the call for one image; with a seed, each image gets its own, so that they differ but repeat."""
    task = runner_pb2.ImageTask(
        prompt=body.prompt,
        negative_prompt=body.negative_prompt or "",
        width=size.width,
        height=size.height,
        seed=None if body.seed is None else min(body.seed + index, 2**63 - 1),
        steps=body.steps or 0,
        format=form,
    )
    return runner_pb2.GenerateCall(request_id=request_id, model=model.id, whole=True, image=task)
