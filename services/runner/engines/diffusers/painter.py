"""A pipeline of the diffusers library: loading it and painting with it. Everything here blocks."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.common.errors import MeshError
from services.runner.kinds.image import ImageJob
from services.runner.refusals import invalid

_PILLOW_FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}


class _StoppedError(Exception):
    """Nobody waits for the image."""


class Painter:
    """One loaded pipeline, on the GPU if there is one."""

    def __init__(self, model_path: Path, threads: int, steps: int | None) -> None:
        """Loads it; raises OSError or ValueError if `model_path` holds no text-to-image pipeline.

        A job that does not say in how many steps has `steps`, or as many as the pipeline takes by itself.
        """
        # Nothing is ever fetched: a model is what the operator has put there.
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch

        _silence_libraries()
        torch.set_num_threads(threads)
        self._torch: Any = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._steps = steps
        self._pipeline = self._load(model_path).to(self._device)
        self._pipeline.set_progress_bar_config(disable=True)
        for name, part in self._pipeline.components.items():
            if name.startswith("tokenizer") and part is not None:
                # What a client writes is text, even if it spells a control token.
                part.split_special_tokens = True

    def paint(self, job: ImageJob, stopped: Callable[[], bool]) -> bytes | None:
        """Returns the encoded image, or None if `stopped` said so after a denoising step.

        Raises MeshError INVALID_REQUEST if the model cannot take the number of steps.
        """

        def after_step(pipeline: Any, step: int, timestep: Any, state: dict[str, Any]) -> dict[str, Any]:
            del pipeline, step, timestep
            if stopped():
                # Unlike diffusers' own way to interrupt, this spares the decoding of what nobody waits for.
                raise _StoppedError
            return state

        generator = self._torch.Generator(self._device)
        if job.seed is None:
            generator.seed()
        else:
            # Generators take 64 bits without a sign.
            generator.manual_seed(job.seed % 2**64)
        steps = job.steps or self._steps
        try:
            images = self._pipeline(
                prompt=job.prompt,
                negative_prompt=job.negative_prompt or None,
                width=job.width,
                height=job.height,
                generator=generator,
                callback_on_step_end=after_step,
                **({"num_inference_steps": steps} if steps else {}),
            ).images
        except _StoppedError:
            return None
        except (ValueError, IndexError):
            if job.steps is None:
                raise
            # How many steps a scheduler can take, it tells in no other way; as a failure of the runner, this would
            # take one runner after the other out of service.
            raise _wrong_steps(job.steps) from None
        return None if stopped() else _encode(images[0], job.form)

    def _load(self, model_path: Path) -> Any:
        from diffusers import AutoPipelineForText2Image

        half = {"torch_dtype": self._torch.float16} if self._device == "cuda" else {}
        return AutoPipelineForText2Image.from_pretrained(model_path, local_files_only=True, **half)


def _wrong_steps(steps: int) -> MeshError:
    return invalid(
        f"This model cannot generate an image in {steps} 'steps'. Leave the field out, or send a smaller number.",
        "steps",
    )


def _silence_libraries() -> None:
    """Keeps the libraries from logging warnings: some of them quote the prompt."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()


def _encode(image: Any, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, _PILLOW_FORMATS[form])
    return buffer.getvalue()
