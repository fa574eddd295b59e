"""Images as servers give them, and what is no answer."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from services.common.errors import Code, MeshError
from services.runner.engines.upstream.kinds.base import Upstream
from services.runner.engines.upstream.kinds.image import PATH, ImageServerEngine
from services.runner.kinds.image import ImageJob
from tests.support.images import plain_image
from tests.support.job_recording import RecordedJob
from tests.support.recorded_server import Answer, RecordedServer, refusal
from tests.support.waiting import eventually
from tests.unit.runner.engines.upstream.kinds.servers import SERVERS

SIZE = (64, 32)


def images(*files: bytes) -> dict[str, Any]:
    return {"created": 1, "data": [{"b64_json": base64.b64encode(file).decode()} for file in files]}


PAINTED = images(plain_image("red", SIZE))


@asynccontextmanager
async def running(
    server: str = "another", answer: Answer = PAINTED
) -> AsyncIterator[tuple[RecordedServer, ImageServerEngine]]:
    async with RecordedServer(SERVERS[server] | {PATH: answer}) as recorded:
        upstream = Upstream(url=recorded.url, key="sk-secret")
        engine = ImageServerEngine(upstream, slots=2, chance=random.Random(7))
        await engine.start()
        yield recorded, engine
        await engine.close()


def job(**fields: Any) -> ImageJob:
    given: dict[str, Any] = {
        "request_id": "request", "prompt": "A fox", "negative_prompt": "", "width": SIZE[0], "height": SIZE[1],
        "seed": None, "steps": None, "form": "png",
    }  # fmt: skip
    return ImageJob(**given | fields)


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("sent", ["PNG", "JPEG", "WEBP"])
async def test_an_image_has_the_format_that_was_asked_for(form: str, sent: str) -> None:
    """Whatever the server makes."""
    file = plain_image("red", SIZE, sent)
    async with running(answer=images(file)) as (_, engine):
        (step,) = await RecordedJob(engine, job(form=form)).end()
    with Image.open(io.BytesIO(step.image)) as image:
        assert (image.format, image.size) == (form.upper(), SIZE)
        red, green, blue = image.convert("RGB").getpixel((5, 5))  # type: ignore[misc]  # three colours
    assert red > 200
    assert max(green, blue) < 60
    assert step.image == file or form.upper() != sent


@pytest.mark.parametrize(
    ("server", "fields", "sent"),
    [
        ("another", {}, {}),
        ("vLLM", {"seed": 5, "steps": 20, "negative_prompt": "dogs"},
         {"seed": 5, "num_inference_steps": 20, "negative_prompt": "dogs"}),
        ("SGLang", {"seed": -1, "steps": 3}, {"seed": 2**32 - 1, "num_inference_steps": 3}),
    ],
)  # fmt: skip
async def test_what_each_server_is_asked(server: str, fields: dict[str, Any], sent: dict[str, Any]) -> None:
    async with running(server) as (recorded, engine):
        await RecordedJob(engine, job(**fields)).end()
    plain = {"model": "model", "prompt": "A fox", "size": "64x32", "n": 1, "response_format": "b64_json"}
    assert recorded.requests == [plain | sent]


async def test_parameters_within_the_prompt() -> None:
    async with running("stable-diffusion.cpp") as (recorded, engine):
        await RecordedJob(engine, job(seed=9, steps=12)).end()
    prompt = recorded.requests[0]["prompt"]
    begin, end = "A fox <sd_cpp_extra_args>", "</sd_cpp_extra_args>"
    assert json.loads(prompt.removeprefix(begin).removesuffix(end)) == {
        "seed": 9,
        "sample_params": {"sample_steps": 12},
    }


@pytest.mark.parametrize("prompt", ["A <sd_cpp_extra_args>{}</sd_cpp_extra_args>", "x</sd_cpp_extra_args>"])
async def test_a_prompt_cannot_set_parameters(prompt: str) -> None:
    """They could load other weights, or keep the server at work for any length of time."""
    async with running("stable-diffusion.cpp") as (recorded, engine):
        with pytest.raises(MeshError, match="must not hold <sd_cpp_extra_args>") as refused:
            RecordedJob(engine, job(prompt=prompt))
        assert (refused.value.code, refused.value.param) == (Code.INVALID_REQUEST, "prompt")
        assert not recorded.requests


@pytest.mark.parametrize("server", ["SGLang", "stable-diffusion.cpp"])
async def test_images_without_a_seed_differ(server: str) -> None:
    """These servers have a seed of their own, always the same, where none is given."""
    async with running(server) as (recorded, engine):
        for _ in range(2):
            await RecordedJob(engine, job()).end()
    one, other = recorded.requests
    assert one != other


@pytest.mark.parametrize(
    ("server", "field", "value"),
    [
        ("another", "seed", 1),
        ("another", "steps", 5),
        ("another", "negative_prompt", "dogs"),
        ("stable-diffusion.cpp", "negative_prompt", "dogs"),
    ],
)
async def test_what_a_server_may_ignore_is_refused_before_the_work(server: str, field: str, value: object) -> None:
    async with running(server) as (recorded, engine):
        with pytest.raises(MeshError, match=f"'{field}' is not served by this model") as refused:
            RecordedJob(engine, job(**{field: value}))
        assert refused.value.code is Code.INVALID_REQUEST
        assert not recorded.requests


async def test_an_image_of_another_size_is_a_failure_that_no_other_runner_mends() -> None:
    async with running(answer=images(plain_image("red", (64, 64)))) as (_, engine):
        with pytest.raises(MeshError, match="makes no images of this size") as failure:
            await RecordedJob(engine, job()).end()
    assert failure.value.code is Code.CANCELLED


@pytest.mark.parametrize(
    "answer",
    [
        images(),
        images(plain_image("red", SIZE), plain_image("red", SIZE)),
        images(b"no image"),
        images(plain_image("red", SIZE)[:60]),
        images(plain_image("red", SIZE, "BMP")),
        images(plain_image("red", SIZE) + bytes(1 << 19)),
        {"data": [{"url": "http://10.0.0.1/image.png"}]},
        {"data": [{"b64_json": "***"}]},
        {"error": "no"},
        refusal(500, {"error": "http://10.0.0.1/ sk-secret"}),
    ],
    ids=lambda answer: repr(answer)[:50],
)
async def test_what_is_no_image_is_a_failure(answer: Answer) -> None:
    """An address is not fetched, whosever it is."""
    async with running(answer=answer) as (_, engine):
        with pytest.raises(MeshError, match=r"^The model's server failed\. Try again\.$") as failure:
            await RecordedJob(engine, job()).end()
        assert failure.value.code is Code.UNAVAILABLE
        assert engine.active == 0


async def test_a_server_that_answers_while_it_paints_comes_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing of the image before it is done. It stays healthy if it answers nothing else meanwhile."""
    monkeypatch.setattr("services.runner.engines.upstream.kinds.base._LOOK_SECONDS", 0.01)

    async def paint(request: web.Request) -> Answer:
        await asyncio.Event().wait()

    async with running(answer=paint) as (recorded, engine):
        painting = RecordedJob(engine, job())
        await eventually(lambda: painting.ticket.progress > 3)
        recorded.answers["/v1/models"] = refusal(500)
        await eventually(lambda: engine._failures > 3)
        reached = painting.ticket.progress
        assert engine.healthy
        await eventually(lambda: engine._failures > 6)
        assert painting.ticket.progress == reached
        painting.ticket.cancel()
        await eventually(lambda: not engine.healthy)
        await eventually(recorded.left.is_set)
