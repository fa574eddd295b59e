"""The engine for images: a real pipeline of random weights paints what prompt, seed and size say, as noise."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image

from services.common.errors import Code, MeshError
from services.runner.demonstrations.random_diffusion import random_diffusion
from services.runner.engines.diffusers import DiffusersEngine
from services.runner.kinds.image import ImageJob, ImageStep
from tests.support.waiting import eventually

JOB = ImageJob("request", "a red fox", "", 64, 32, seed=1, steps=2, form="png")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_diffusion(tmp_path_factory.mktemp("cache"))


@pytest.fixture
async def engine(model: Path) -> AsyncIterator[DiffusersEngine]:
    engine = DiffusersEngine(model, slots=3)
    await engine.start()
    yield engine
    await engine.close()


async def painted(engine: DiffusersEngine, job: ImageJob) -> bytes:
    steps: list[ImageStep | MeshError] = []
    engine.submit(job, steps.append)
    await eventually(lambda: bool(steps))
    (step,) = steps
    assert isinstance(step, ImageStep)
    assert step.finish_reason is not None
    return step.image


async def test_prompt_seed_and_steps_decide_the_image(engine: DiffusersEngine) -> None:
    first = await painted(engine, JOB)
    assert await painted(engine, JOB) == first
    others = [replace(JOB, seed=2), replace(JOB, prompt="a blue sea"), replace(JOB, steps=3)]
    images = [await painted(engine, job) for job in [*others, replace(JOB, negative_prompt="dogs")]]
    assert len({first, *images}) == 5
    assert await painted(engine, replace(JOB, seed=None)) != await painted(engine, replace(JOB, seed=None))


async def test_control_tokens_in_a_prompt_are_text(engine: DiffusersEngine) -> None:
    # As the end of the text, it would fill the rest of the prompt.
    images = [await painted(engine, replace(JOB, prompt=f"a fox{end}")) for end in ("", "<|endoftext|>", "<|endoftex")]
    assert len(set(images)) == 3


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
async def test_size_and_format_are_what_was_asked_for(engine: DiffusersEngine, form: str) -> None:
    image = Image.open(io.BytesIO(await painted(engine, replace(JOB, form=form))))
    assert (image.format, image.size) == (form.upper(), (64, 32))


async def test_a_prompt_is_never_printed(engine: DiffusersEngine, capfd: pytest.CaptureFixture[str]) -> None:
    await painted(engine, replace(JOB, prompt="canary " * 200))
    out, err = capfd.readouterr()
    assert "canary" not in out + err


async def test_a_cancelled_job_stops_painting(engine: DiffusersEngine) -> None:
    steps: list[ImageStep | MeshError] = []
    # One more is refused by the scheduler.
    ticket = engine.submit(replace(JOB, steps=999), steps.append)
    ticket.cancel()
    assert engine.active == 1
    # The next image waits for the same thread: it comes long before so many steps are over.
    assert await painted(engine, JOB)
    assert (steps, engine.active) == ([], 0)


async def test_a_painting_is_left_between_two_steps(
    engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    counted, decoded = 0, 0
    first, go = threading.Event(), threading.Event()
    predict, decode = UNet2DConditionModel.forward, AutoencoderKL.decode

    def blocked(*arguments: Any, **options: Any) -> Any:
        nonlocal counted
        counted += 1
        first.set()
        go.wait(20)
        return predict(*arguments, **options)

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return decode(*arguments, **options)

    monkeypatch.setattr(UNet2DConditionModel, "forward", blocked)
    monkeypatch.setattr(AutoencoderKL, "decode", counting)
    ticket = engine.submit(replace(JOB, steps=50), lambda step: None)
    await eventually(first.is_set, 20)
    ticket.cancel()
    assert engine.active == 1
    go.set()
    await eventually(lambda: engine.active == 0, 20)
    # Nor is it made an image of.
    assert (counted, decoded) == (1, 0)
    assert "engine_failed" not in capfd.readouterr().out
    assert await painted(engine, JOB)


async def test_steps_that_the_scheduler_cannot_take_are_the_requests_fault(engine: DiffusersEngine) -> None:
    """DDIM counts to 1000, one too far for its table; as INTERNAL, that would be tried on, and eject, every runner."""
    steps: list[ImageStep | MeshError] = []
    engine.submit(replace(JOB, steps=1000), steps.append)
    await eventually(lambda: bool(steps))
    (refusal,) = steps
    assert isinstance(refusal, MeshError)
    assert (refusal.code, refusal.param) == (Code.INVALID_REQUEST, "steps")


async def test_jobs_take_turns_and_more_than_the_slots_are_refused(engine: DiffusersEngine) -> None:
    steps: list[ImageStep | MeshError] = []
    for _ in range(3):
        engine.submit(JOB, steps.append)
    with pytest.raises(MeshError) as caught:
        engine.submit(JOB, steps.append)
    assert (caught.value.code, engine.active) == (Code.OVERLOADED, 3)
    await eventually(lambda: len(steps) == 3)
    assert engine.active == 0


async def test_a_folder_without_a_pipeline_is_refused_with_its_name(tmp_path: Path) -> None:
    engine = DiffusersEngine(tmp_path)
    with pytest.raises((OSError, ValueError), match=r"model_index\.json"):
        await engine.start()
    await engine.close()


def test_it_is_closed_to_jobs_before_it_is_loaded(model: Path) -> None:
    steps: list[ImageStep | MeshError] = []
    with pytest.raises(MeshError, match="not running"):
        DiffusersEngine(model).submit(JOB, steps.append)
