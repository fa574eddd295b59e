"""The routes of images."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.dependencies import Dependencies
from services.edge.images.endpoint import FILES_PATH, Images
from services.edge.images.files import CONTENT_TYPES, image_files
from services.edge.images.request import ImageBody
from services.edge.images.response import GeneratedImage, ImageList
from services.edge.route import (
    TEXT,
    AnyRoute,
    Content,
    Operation,
    Parameter,
    PublicRoute,
    Route,
    json_answer,
    json_body,
)

_GENERATE = Operation(
    summary="Paint images",
    tag="Images",
    body=json_body(
        ImageBody,
        {"model": "tiermesh-image", "prompt": "A blue door", "size": "256x256", "response_format": "b64_json"},
    ),
    answer=json_answer(ImageList(1798761600, [GeneratedImage(b64_json="iVBORw0KGgo=")], "png")),
    paid=True,
)
_FETCH = Operation(
    summary="Fetch an image by its signed URL",
    tag="Images",
    answer={name: Content() for name in CONTENT_TYPES.values()},
    parameters=(
        Parameter("expires", TEXT, "The second at which the URL ends."),
        Parameter("signature", TEXT, "The signature of the URL."),
    ),
    may_be_missing=True,
)


def routes(edge: Dependencies) -> Sequence[AnyRoute]:
    """Returns the route of POST /v1/images/generations, and the one that serves what it has made."""
    images = Images(edge.path, image_files(edge.settings, edge.clock), edge.settings, edge.clock)
    return [
        Route(
            method="POST",
            path="/images/generations",
            name="images",
            scope="images",
            handler=images.serve,
            operation=_GENERATE,
        ),
        # Whoever has the URL of an image may fetch it, as from OpenAI.
        PublicRoute(path=FILES_PATH + "{name}", handler=images.file, operation=_FETCH),
    ]
