from __future__ import annotations

import pytest

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.runner.kinds.image import ImageJob, ImageReader, ImageStep
from tiermesh.runner.v1.runner_pb2 import FINISH_REASON_STOP, EmbeddingTask, GenerateCall, ImageTask

MODEL = Model(id="painter", kind="image", tier="image", price=4)


def call(**fields: object) -> GenerateCall:
    task = {"prompt": "a fox", "width": 64, "height": 32, "format": "png"} | fields
    return GenerateCall(id=7, request_id="r", image=ImageTask(**task))  # type: ignore[arg-type] # tests pass fields on


def test_a_call_becomes_a_job_and_its_image_a_reply() -> None:
    work = ImageReader().read(call(seed=-1, steps=3, negative_prompt="dogs"), MODEL)
    assert work.job == ImageJob("r", "a fox", "dogs", 64, 32, -1, 3, "png")
    reply = work.write(ImageStep(b"pixels"))
    assert reply is not None
    assert (reply.id, reply.image, reply.finish_reason) == (7, b"pixels", FINISH_REASON_STOP)


def test_what_is_not_said_is_the_models_choice() -> None:
    job = ImageReader().read(call(), MODEL).job
    assert (job.seed, job.steps) == (None, None)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"width": 0}, "size"),
        ({"width": 63}, "size"),
        ({"height": 8200}, "size"),
        ({"steps": 1001}, "steps"),
        ({"format": "gif"}, "output_format"),
    ],
)
def test_an_edge_is_not_trusted(fields: dict[str, object], param: str) -> None:
    with pytest.raises(MeshError) as caught:
        ImageReader().read(call(**fields), MODEL)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, param)


def test_other_work_is_refused() -> None:
    with pytest.raises(MeshError, match="only generates images"):
        ImageReader().read(GenerateCall(embedding=EmbeddingTask()), MODEL)


def test_an_error_is_passed_on() -> None:
    reply = ImageReader().read(call(), MODEL).write(MeshError(Code.UNAVAILABLE, "gone"))
    assert reply is not None
    assert MeshError.from_proto(reply.error).code is Code.UNAVAILABLE
