"""Images: a description in, one encoded image out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from services.common.catalog import Model
from services.common.errors import MeshError
from services.runner.kinds.base import FinishReason, TokenCounts, Work
from services.runner.refusals import invalid
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateCall, GenerateReply

FORMATS = ("png", "jpeg", "webp")
BLOCK = 8
MOST_STEPS = 1000
LONGEST_SIDE = 8192


@dataclass(frozen=True, slots=True)
class ImageJob:
    """One image to paint; sizes are in pixels."""

    # For logs only.
    request_id: str
    prompt: str
    negative_prompt: str
    width: int
    height: int
    # None means a fresh seed.
    seed: int | None
    # Denoising steps; None means the model's own number.
    steps: int | None
    # One of FORMATS.
    form: str


@dataclass(frozen=True, slots=True)
class ImageStep:
    """The one step of a job: the encoded image."""

    image: bytes
    finish_reason: FinishReason | None = FinishReason.STOP
    usage: TokenCounts | None = None


class ImageReader:
    """Reads the calls for an image engine."""

    def read(self, call: GenerateCall, model: Model) -> Work[ImageJob, ImageStep]:
        """Returns the work; raises MeshError INVALID_REQUEST, with `param`, for what is wrong with the call."""
        del model
        if call.WhichOneof("task") != "image":
            raise invalid("The model of this runner only generates images. Use POST /v1/images/generations.", "model")
        task = call.image
        if not task.prompt:
            raise invalid("'prompt' must not be empty. Describe the image.", "prompt")
        if task.format not in FORMATS:
            raise invalid(f"'output_format' must be one of {', '.join(FORMATS)}.", "output_format")
        if task.steps > MOST_STEPS:
            raise invalid(f"'steps' must be at most {MOST_STEPS}.", "steps")
        job = ImageJob(
            request_id=call.request_id,
            prompt=task.prompt,
            negative_prompt=task.negative_prompt,
            width=_read_side(task.width),
            height=_read_side(task.height),
            seed=task.seed if task.HasField("seed") else None,
            steps=task.steps or None,
            form=task.format,
        )
        return Work(job, partial(_write, call.id))


def _read_side(pixels: int) -> int:
    if pixels % BLOCK or not BLOCK <= pixels <= LONGEST_SIDE:
        raise invalid(f"Both numbers of 'size' must be multiples of {BLOCK} up to {LONGEST_SIDE}.", "size")
    return pixels


def _write(call_id: int, step: ImageStep | MeshError) -> GenerateReply:
    if isinstance(step, MeshError):
        return GenerateReply(id=call_id, error=step.to_proto())
    return GenerateReply(id=call_id, image=step.image, finish_reason=runner_pb2.FINISH_REASON_STOP)
