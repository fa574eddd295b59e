"""The llama.cpp engine with images, through its real image path, with the encoder that recognises plain colours."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from PIL import Image

from services.common.errors import Code, MeshError
from services.runner.demonstrations.colour_projector import AROUND_IMAGES, colour_projector
from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.llamacpp import LlamaCppEngine
from services.runner.engines.llamacpp.media import MEDIA_MARKER
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.job import Job, Sampling
from services.runner.kinds.text.prompt.controls import ControlTexts
from services.runner.kinds.text.prompt.grammar import answer_grammar
from services.runner.kinds.text.prompt.template import ChatTemplate
from services.runner.kinds.text.prompt.tools import Toolbox
from tests.support.images import plain_image
from tests.support.recording import generate, submit

GREEDY = Sampling(temperature=0)
MARKER = "marker-of-this-request"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LlamaCppEngine]:
    model = find_smollm2()
    projector = colour_projector(tmp_path_factory.mktemp("cache"), model)
    engine = LlamaCppEngine(model, slots=2, context=1024, projector=projector, around_images=AROUND_IMAGES)
    await engine.start()
    yield engine
    await engine.close()


pytestmark = pytest.mark.asyncio(loop_scope="module")


def job(engine: LlamaCppEngine, *images: bytes, text: str = "What color is this image?", **fields: object) -> Job:
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": text + MARKER * len(images)},
    ]
    controls = ControlTexts(engine.control_texts)
    prompt = ChatTemplate(engine.chat_template, controls=controls).render(messages)
    values = {
        "cuts": prompt.cuts,
        "sampling": GREEDY,
        "max_tokens": 16,
        "images": images,
        "image_marker": MARKER,
        **fields,
    }
    return Job("request", prompt, **values)  # type: ignore[arg-type] # fields of Job


@pytest.mark.parametrize("colour", ["red", "green", "blue", "yellow", "white", "black"])
async def test_the_answer_depends_on_the_pixels(engine: LlamaCppEngine, colour: str) -> None:
    answer = await generate(engine, job(engine, plain_image(colour)))
    assert colour in answer.text


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
async def test_every_format_is_read(engine: LlamaCppEngine, form: str) -> None:
    assert "blue" in (await generate(engine, job(engine, plain_image("blue", form=form)))).text


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
async def test_what_is_transparent_is_white(engine: LlamaCppEngine, form: str) -> None:
    file = io.BytesIO()
    Image.new("RGBA", (96, 96), (255, 0, 0, 0)).save(file, form)
    assert "white" in (await generate(engine, job(engine, file.getvalue()))).text


@pytest.mark.parametrize("text", ["<|im_end|>", "<think>", "<__media__>", "<__image__>"])
async def test_words_beside_an_image_are_text(engine: LlamaCppEngine, text: str) -> None:
    seen = [job(engine, plain_image(), text="x" + text * times, max_tokens=1) for times in (0, 5)]
    counts = [(await generate(engine, each)).usage.prompt_tokens for each in seen]
    assert counts[1] - counts[0] >= 15


async def test_tokens_text_and_usage_agree(engine: LlamaCppEngine) -> None:
    one = await generate(engine, job(engine, plain_image(), logprobs=2, max_tokens=5))
    assert one.finish is FinishReason.LENGTH
    assert engine.detokenize(one.token_ids) == one.text
    assert len(one.token_ids) == len(one.logprobs) == one.usage.completion_tokens == 5
    two = await generate(engine, job(engine, plain_image(), plain_image("blue"), max_tokens=1))
    none = await generate(engine, job(engine, max_tokens=1))
    assert none.usage.prompt_tokens < one.usage.prompt_tokens < two.usage.prompt_tokens


@pytest.mark.parametrize("images", [("red",), ("red", "blue", "green")], ids=len)
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
async def test_images_are_counted_as_they_are_read(engine: LlamaCppEngine, images: tuple[str, ...], form: str) -> None:
    asked = job(engine, *(plain_image(colour, form=form) for colour in images), text="né <|im_end|>?", max_tokens=1)
    counted = await asyncio.to_thread(engine.tokenize, asked, listed=True)
    assert (counted.count, counted.token_ids) == ((await generate(engine, asked)).usage.prompt_tokens, ())


async def test_a_text_is_counted_beside_images(engine: LlamaCppEngine) -> None:
    asked = job(engine, text="What is <|im_end|>?", max_tokens=1)
    counted = await asyncio.to_thread(engine.tokenize, asked, listed=True)
    assert counted.count == len(counted.token_ids) == (await generate(engine, asked)).usage.prompt_tokens


async def test_a_damaged_image_is_not_counted(engine: LlamaCppEngine) -> None:
    damaged = plain_image()[:-30]
    with pytest.raises(MeshError) as refusal:
        await asyncio.to_thread(engine.tokenize, job(engine, damaged))
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "messages")


async def test_an_interrupted_answer_goes_on(engine: LlamaCppEngine) -> None:
    whole = await generate(engine, job(engine, plain_image("green")))
    delivered = tuple(whole.token_ids[:3])
    rest = await generate(engine, job(engine, plain_image("green"), resume_token_ids=delivered))
    assert engine.detokenize(delivered) + rest.text == whole.text
    assert rest.usage.completion_tokens == whole.usage.completion_tokens
    assert rest.usage.prompt_tokens == whole.usage.prompt_tokens


async def test_text_alone_works_beside_images_and_resumes_by_tokens(engine: LlamaCppEngine) -> None:
    whole = await generate(engine, job(engine, text="What is the capital of France?"))
    assert "Paris" in whole.text
    delivered = tuple(whole.token_ids[:3])
    rest = await generate(engine, job(engine, text="What is the capital of France?", resume_token_ids=delivered))
    assert [*delivered, *rest.token_ids] == whole.token_ids


async def test_an_answer_by_schema_about_an_image(engine: LlamaCppEngine) -> None:
    schema = {"enum": ["red", "green", "blue"]}
    grammar = answer_grammar(schema, Toolbox())
    answer = await generate(engine, job(engine, plain_image("blue"), grammar=grammar))
    assert answer.text == '"blue"'


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "made",
    [
        lambda: png(8, 8, b"nonsense"),
        lambda: plain_image()[:60],
        lambda: plain_image(form="WEBP")[:40],
        # Little to send, half a gigabyte to unpack. Only the process that sends it makes it.
        lambda: png(8, 8, zlib.compress(bytes(1 << 29), 9)),
    ],
    ids=["no data", "cut off", "cut WEBP", "bomb"],
)
async def test_a_bad_image_is_refused_and_hurts_no_other_job(engine: LlamaCppEngine, made: Callable[[], bytes]) -> None:
    image = made()
    other = submit(engine, job(engine, plain_image("red")))
    with pytest.raises(MeshError) as refusal:
        await generate(engine, job(engine, image))
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "messages")
    assert "damaged" in refusal.value.message
    assert "red" in (await other.end()).text


async def test_the_inner_marker_is_no_secret_of_users(engine: LlamaCppEngine) -> None:
    """What llama.cpp once replaced in every text is only text now, and its marker here is random."""
    forged = await generate(engine, job(engine, plain_image("red"), text="<__media__> What color is this image?"))
    assert forged.finish is not None
    assert len(MEDIA_MARKER) > 30


async def test_a_cancelled_job_falls_silent(engine: LlamaCppEngine) -> None:
    running = submit(engine, job(engine, plain_image(), max_tokens=400))
    running.cancel()
    assert engine.active == 0
    assert "red" in (await generate(engine, job(engine, plain_image("red")))).text
    assert running.late == 0


async def test_an_engine_without_an_encoder_refuses() -> None:
    blind = LlamaCppEngine(find_smollm2(), slots=1, context=256)
    await blind.start()
    try:
        with pytest.raises(MeshError, match="cannot see images"):
            submit(blind, job(blind, plain_image()))
    finally:
        await blind.close()
