"""How the images of a conversation reach a job."""

from __future__ import annotations

import pytest

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.runner.kinds.text.images.markers import MOST_IMAGES, random_marker
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template
from services.runner.kinds.text.reader import Request, RequestReader
from tests.support.images import plain_image
from tiermesh.runner.v1 import runner_pb2 as pb

SEEING = Model(id="seeing", kind="chat", tier="max", price=15, context=2048, capabilities=("vision",))
BLIND = Model(id="blind", kind="chat", tier="pro", price=10, context=2048)
RED, BLUE = plain_image("red"), plain_image("blue")


def read(parts: list[pb.ContentPart], model: Model = SEEING, template: str = "") -> Request:
    reader = RequestReader(
        ChatTemplate(template or packaged_template("smollm2")),
        detokenize=lambda _: "",
        new_call_id=lambda: "call_1",
        new_image_marker=lambda: "MARKER",
    )
    message = pb.Message(role="user", parts=parts)
    return reader.read(pb.GenerateCall(messages=[message], sampling=pb.Sampling(temperature=1, top_p=1)), model)


def text(content: str) -> pb.ContentPart:
    return pb.ContentPart(text=content)


def image(content: bytes) -> pb.ContentPart:
    return pb.ContentPart(image=content)


def test_images_are_where_they_stood() -> None:
    job = read([text("a"), image(RED), text("b"), image(BLUE)]).job
    assert job.images == (RED, BLUE)
    assert "aMARKERbMARKER<|im_end|>" in job.prompt
    first, middle, last = job.prompt_parts
    assert (first[-1], middle, last[:10]) == ("a", "b", "<|im_end|>")


def test_a_job_without_images_is_one_part() -> None:
    job = read([text("plain")]).job
    assert (job.images, job.image_marker, job.prompt_parts) == ((), "", [job.prompt])


def test_nobody_can_guess_a_marker() -> None:
    assert random_marker() != random_marker()
    assert len(random_marker()) > 32


def test_a_model_without_eyes_refuses() -> None:
    with pytest.raises(MeshError, match="an edge has checked") as refusal:
        read([image(RED)], BLIND)
    assert refusal.value.code is Code.INVALID_REQUEST


@pytest.mark.parametrize("content", [b"", b"nonsense", b"RIFF0000WAVE", RED[:12]])
def test_what_is_no_image_is_refused_before_the_engine_sees_it(content: bytes) -> None:
    with pytest.raises(MeshError) as refusal:
        read([text("a"), image(content)])
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "messages[0].content[1].image_url.url")


def test_too_many_and_too_large() -> None:
    with pytest.raises(MeshError, match="an edge has checked"):
        read([image(RED)] * (MOST_IMAGES + 1))
    # A header that claims 10,000 x 10,000 pixels.
    huge = RED[:16] + (10_000).to_bytes(4, "big") * 2 + RED[24:]
    with pytest.raises(MeshError, match="an edge has checked"):
        read([image(huge)])


def test_a_template_that_drops_or_repeats_content_is_not_trusted_with_images() -> None:
    for template in ("nothing", "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}"):
        with pytest.raises(MeshError, match="no place for them"):
            read([image(RED)], template=template)
