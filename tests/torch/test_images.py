"""Images in prompts, with a tower that sees colours alone; the library's embeddings and pages are the real ones."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import exllamav2
import pytest
import torch
from exllamav2.generator import ExLlamaV2MMEmbedding
from PIL import Image

from services.common.errors import Code, MeshError
from services.runner.engines.exllamav2 import ExLlamaV2Options
from services.runner.engines.exllamav2.backend import close_generator
from services.runner.engines.exllamav2.jobs.batch import Batch
from services.runner.engines.exllamav2.jobs.images import read_image
from services.runner.engines.exllamav2.jobs.prompts import Prompts
from services.runner.engines.exllamav2.jobs.run import Run
from services.runner.engines.exllamav2.model_directory import read_model_directory
from services.runner.engines.exllamav2.vocabulary import Vocabulary
from services.runner.kinds.text.job import Job
from tests.support.answer_contract import GREEDY
from tests.support.recording import Recording, generate
from tests.torch.stand_in.checkpoint import SMALL
from tests.torch.stand_in.engine import StandIn, running, stand_in_engine

MARKER = "<image-7d1f>"
WIDTH = 6


class ColourTower:
    """Turns a picture into embeddings that depend on its middle pixel."""

    def __init__(self) -> None:
        self.calls = 0

    def get_image_embeddings(self, model: Any, tokenizer: exllamav2.ExLlamaV2Tokenizer, picture: Image.Image) -> Any:
        self.calls += 1
        seed = sum(picture.getpixel((picture.width // 2, picture.height // 2)))  # type: ignore[arg-type] # RGB
        values = torch.randn(WIDTH, SMALL.hidden, generator=torch.Generator().manual_seed(seed))
        return ExLlamaV2MMEmbedding(model, values)


def picture(colour: str, form: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(data, form)
    return data.getvalue()


class Eyes:
    """The parts of the engine that see, without its threads."""

    def __init__(self, model_path: Path) -> None:
        directory = read_model_directory(model_path)
        options = ExLlamaV2Options(model_path, slots=4, context=1024, prefill_chunk=256)
        vocabulary = Vocabulary(directory)
        backend = StandIn().load(options, directory, None)
        self.tower = backend.vision_tower = ColourTower()
        self.batch = Batch(backend, backend.new_generator(), vocabulary)
        self._prompts = Prompts(vocabulary, options.longest)

    def see(self, prompt: str, *images: bytes) -> Recording:
        job = Job("request", prompt, GREEDY, max_tokens=12, images=images, image_marker=MARKER)
        recording = Recording()
        run = Run(job, recording, lambda run: None, lambda run, reason: None)
        for refused, step in self.batch.admit(self._prompts.prepare(run)):
            refused.deliver(step)
        while self.batch.active:
            posts: list[Any] = []
            self.batch.iterate(posts)
            for _, step in posts:
                recording(step)
        return recording


@pytest.fixture
def eyes(tiny_model: Path) -> Any:
    eyes = Eyes(tiny_model)
    yield eyes
    close_generator(eyes.batch.generator)


def test_an_answer_depends_on_what_is_seen(eyes: Eyes) -> None:
    prompt = f"What is {MARKER} here?"
    red, blue = eyes.see(prompt, picture("red")), eyes.see(prompt, picture("navy"))
    assert red.token_ids != blue.token_ids
    assert eyes.see(prompt, picture("red")).token_ids == red.token_ids
    text = eyes.see(prompt.replace(MARKER, ""))
    assert red.usage.prompt_tokens == text.usage.prompt_tokens + WIDTH


def test_a_picture_is_looked_at_once_and_its_place_matters(eyes: Eyes) -> None:
    red, blue = picture("red"), picture("navy")
    one = eyes.see(f"{MARKER} and {MARKER}?", red, blue)
    other = eyes.see(f"{MARKER} and {MARKER}?", blue, red)
    assert eyes.tower.calls == 2
    assert one.token_ids != other.token_ids
    again = eyes.see(f"{MARKER} and {MARKER}?", red, blue)
    assert again.token_ids == one.token_ids
    # The same picture has the same tokens, so the pages of the turn before are found.
    assert again.usage.cached_tokens >= again.usage.prompt_tokens - 2


def test_pictures_are_measured_once_for_the_count_and_the_answer(eyes: Eyes) -> None:
    images = [picture("red"), picture("navy"), picture("red")]
    tokens: Future[int] = Future()
    eyes.batch.measure([read_image(image) for image in images], tokens)
    assert tokens.result(0) == 3 * WIDTH
    seen = eyes.see(f"{MARKER}{MARKER}{MARKER}?", *images)
    assert seen.usage.prompt_tokens == eyes.see("?").usage.prompt_tokens + tokens.result(0)
    assert eyes.tower.calls == 2


def test_a_picture_that_cannot_be_measured_ends_its_own_count(eyes: Eyes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eyes.tower, "get_image_embeddings", None)
    tokens: Future[int] = Future()
    eyes.batch.measure([read_image(picture("red"))], tokens)
    with pytest.raises(MeshError) as failure:
        tokens.result(0)
    assert failure.value.code is Code.INTERNAL


async def test_an_engine_counts_pictures_as_it_reads_them(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in, tower = StandIn(), ColourTower()
    asked = Job("request", f"{MARKER} or {MARKER}?", GREEDY, 2, images=(picture("red"),) * 2, image_marker=MARKER)
    async with running(stand_in_engine(tiny_model, stand_in)) as engine:
        assert stand_in.backend is not None
        stand_in.backend.vision_tower = tower
        # The stand-in has no files of a model with vision, which starting would check.
        monkeypatch.setattr(engine, "_options", replace(engine._options, vision=True))
        counted = await asyncio.to_thread(engine.tokenize, asked, listed=True)
        assert (counted.count, counted.token_ids) == ((await generate(engine, asked)).usage.prompt_tokens, ())
        assert tower.calls == 1
    with pytest.raises(MeshError) as refusal:
        await asyncio.to_thread(engine.tokenize, asked)
    assert refusal.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_every_format_is_read(eyes: Eyes, form: str) -> None:
    assert eyes.see(f"{MARKER}?", picture("white", form)).ends == 1


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF"])
def test_what_is_transparent_is_seen_as_white(eyes: Eyes, form: str) -> None:
    data = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(data, form)
    assert eyes.see(f"{MARKER}?", data.getvalue()).token_ids == eyes.see(f"{MARKER}?", picture("white")).token_ids


def test_a_picture_is_seen_upright(eyes: Eyes) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    Image.new("RGB", (96, 48)).save(data, "JPEG", exif=exif)
    assert read_image(data.getvalue()).picture.size == (48, 96)


@pytest.mark.parametrize("data", [b"", b"no picture", picture("red")[:-30]], ids=["empty", "text", "cut off"])
def test_what_is_no_picture_is_refused(eyes: Eyes, data: bytes) -> None:
    with pytest.raises(MeshError) as refusal:
        eyes.see(f"{MARKER}?", data)
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "messages")


def test_a_template_that_drops_a_picture_is_noticed(eyes: Eyes) -> None:
    with pytest.raises(MeshError) as refusal:
        eyes.see("no marker", picture("red"))
    assert refusal.value.code is Code.INVALID_REQUEST


def test_pictures_that_fill_the_context_are_refused(eyes: Eyes) -> None:
    images = [picture("red")] * 200
    refused = eyes.see(MARKER * 200, *images)
    assert refused.error is not None
    assert refused.error.code is Code.CONTEXT_LENGTH_EXCEEDED
