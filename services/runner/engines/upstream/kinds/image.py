"""Images of a server."""

from __future__ import annotations

import asyncio
import importlib.util
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec

from services.common.errors import Code, MeshError
from services.common.extras import how_to_install
from services.common.settings import SettingsError
from services.runner.engines.upstream.events import UpstreamError
from services.runner.engines.upstream.kind_quirks import ImageQuirks
from services.runner.engines.upstream.kinds.base import ServerEngine, Upstream, check_there
from services.runner.engines.upstream.kinds.exchange import Exchange
from services.runner.engines.upstream.kinds.picture import OtherSizeError, image_file
from services.runner.engines.upstream.server import UpstreamServer
from services.runner.kinds.base import FinishReason
from services.runner.kinds.image import ImageJob, ImageStep
from services.runner.refusals import invalid, not_served

PATH = "/v1/images/generations"
# An image of noise takes four bytes a pixel, and base64 a third more; an answer has this beside it, in bytes.
_BYTES_PER_PIXEL, _BYTES_BESIDE = 6, 1 << 18
# Seeds are of 32 bits, which every library takes.
_SEEDS = 1 << 32


class _Image(msgspec.Struct):
    b64_json: str | None = None


class _Images(msgspec.Struct):
    data: list[_Image]


class ImageServerEngine(ServerEngine[ImageJob, ImageStep]):
    """Generates images by a server; seeds that a job does not say are taken from `chance`."""

    def __init__(self, upstream: Upstream, *, slots: int, chance: random.Random | None = None) -> None:
        super().__init__("image", upstream, slots=slots)
        self._chance = chance or random.SystemRandom()

    async def _learn(self, session: aiohttp.ClientSession, server: UpstreamServer) -> None:
        if importlib.util.find_spec("PIL") is None:
            raise SettingsError(f"images of a server are checked with the package pillow: {how_to_install('llamacpp')}")
        await check_there(session, server, PATH)

    def _check(self, job: ImageJob, server: UpstreamServer) -> None:
        quirks = server.quirks.image
        given = {"seed": job.seed is not None, "steps": bool(job.steps), "negative_prompt": bool(job.negative_prompt)}
        for name, asked in given.items():
            if asked and name not in quirks.parameters:
                raise not_served(name, "its server may ignore it")
        if quirks.tag and any(mark in job.prompt for mark in _marks(quirks)):
            # It would be taken for parameters, and so might paint for any length of time.
            raise invalid(f"'prompt' must not hold <{quirks.tag}>, which is no description of an image.", "prompt")

    def _exchange(
        self, session: aiohttp.ClientSession, server: UpstreamServer, request_id: str, progressed: Callable[[], None]
    ) -> Exchange:
        return Exchange(session, server.root, request_id, progressed, param="prompt")

    async def _steps(self, job: ImageJob, server: UpstreamServer, exchange: Exchange) -> AsyncIterator[ImageStep]:
        seed = self._chance.randrange(_SEEDS) if job.seed is None else job.seed % _SEEDS
        body = _body(job, server, seed)
        most = job.width * job.height * _BYTES_PER_PIXEL + _BYTES_BESIDE
        answer: _Images = await exchange.ask(PATH, _Images, most, json=body)
        if len(answer.data) != 1 or not answer.data[0].b64_json:
            # An address is never fetched: it could be any.
            raise UpstreamError("no image")
        encoded = answer.data[0].b64_json
        try:
            image = await asyncio.to_thread(image_file, encoded, job.width, job.height, job.form)
        except OtherSizeError as error:
            raise _other_size() from error
        yield ImageStep(image, FinishReason.STOP)


def _body(job: ImageJob, server: UpstreamServer, seed: int) -> dict[str, Any]:
    quirks = server.quirks.image
    values = {"seed": seed, "steps": job.steps, "negative_prompt": job.negative_prompt}
    extra: dict[str, Any] = {}
    for name, path in quirks.parameters.items():
        if values[name] or name == "seed":
            *objects, last = path.split(".")
            place = extra
            for each in objects:
                place = place.setdefault(each, {})
            place[last] = values[name]
    body = {
        "model": server.model,
        "prompt": job.prompt,
        "size": f"{job.width}x{job.height}",
        "n": 1,
        "response_format": "b64_json",
    }
    if not quirks.tag:
        return body | extra
    begin, end = _marks(quirks)
    return body | {"prompt": f"{job.prompt} {begin}{msgspec.json.encode(extra).decode()}{end}"}


def _marks(quirks: ImageQuirks) -> tuple[str, str]:
    return f"<{quirks.tag}>", f"</{quirks.tag}>"


def _other_size() -> MeshError:
    """Returns the failure of an image of another size, which this server makes each time that it is asked so."""
    message = "The model's server makes no images of this size. Choose another 'size'."
    return MeshError(Code.CANCELLED, message, retry_after=1.0)
