"""Images through the official SDK: the reference's sample, sizes, seeds, prices, and URLs that expire.

The pipeline is real, but its weights are random, so every image is noise: what is checked is what was asked for.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator

import httpx2
import openai
import pytest
from openai.types import ImagesResponse

from services.common.receipts.verifying import read_public_keys, verify
from tests.support.account import FundedAccount
from tests.support.mesh import LocalMesh
from tests.support.openai_schemas import check
from tests.support.waiting import eventually

PROMPT = """
A children's book drawing of a veterinarian using a stethoscope to
listen to the heartbeat of a baby otter.
"""
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def mesh(image_mesh: LocalMesh) -> LocalMesh:
    return image_mesh


@pytest.fixture
def client(mesh: LocalMesh) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0) as client:
        yield client


def size_of(png: bytes) -> tuple[int, int]:
    assert png.startswith(PNG)
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def pictures(response: ImagesResponse) -> list[bytes]:
    assert response.data is not None
    return [base64.b64decode(image.b64_json or "") for image in response.data]


def test_the_references_sample(client: openai.OpenAI) -> None:
    result = client.images.generate(model="tiermesh-image", prompt=PROMPT)
    assert result.data is not None
    assert result.data[0].url is not None
    # No key: whoever has the URL may see the image.
    answer = httpx2.get(result.data[0].url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert size_of(answer.content) == (64, 64)


def test_a_url_that_was_changed_leads_nowhere(client: openai.OpenAI) -> None:
    result = client.images.generate(model="tiermesh-image", prompt="a fox")
    assert result.data is not None
    answer = httpx2.get((result.data[0].url or "") + "0")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_a_seed_repeats_an_image_and_each_of_several_differs(client: openai.OpenAI) -> None:
    def ask(n: int) -> list[bytes]:
        extra = {"seed": 7, "steps": 2}
        made = client.images.generate(
            model="tiermesh-image", prompt="a fox", n=n, response_format="b64_json", extra_body=extra
        )
        return pictures(made)

    first, second = ask(2)
    assert first != second
    assert ask(1) == [first]


def test_each_image_has_a_price(client: openai.OpenAI) -> None:
    raw = client.images.with_raw_response.generate(model="tiermesh-image", prompt="a fox", n=3)
    assert raw.headers["x-tiermesh-credits-charged"] == "12"
    keys = read_public_keys(httpx2.get(f"{client.base_url}.well-known/jwks.json").content)
    receipt = verify(raw.headers["x-tiermesh-receipt"], keys)
    assert (receipt.unit_price, receipt.quantity, receipt.charged, receipt.outcome) == (4, 3, 12, "completed")
    assert receipt.answer_sha256 == hashlib.sha256(raw.content).hexdigest()
    assert len(raw.parse().data or ()) == 3
    check("ImagesResponse", raw.http_response.json())


@pytest.mark.parametrize(("form", "magic"), [("png", PNG), ("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF")])
def test_formats_and_sizes(client: openai.OpenAI, form: str, magic: bytes) -> None:
    made = client.images.generate(
        model="tiermesh-image",
        prompt="a fox",
        size="128x64",
        response_format="b64_json",
        extra_body={"output_format": form},
    )
    (image,) = pictures(made)
    assert image.startswith(magic)
    assert made.output_format == form
    if form == "png":
        assert size_of(image) == (128, 64)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"size": "100x100"}, "size"),
        ({"size": "1024x1024"}, "size"),
        ({"n": 11}, "n"),
        ({"prompt": ""}, "prompt"),
        ({"model": "tiermesh-pro"}, "model"),
    ],
)
def test_what_cannot_be_made_is_refused_and_free(
    mesh: LocalMesh, client: openai.OpenAI, fields: dict[str, object], param: str
) -> None:
    before = mesh.command_now("balance", mesh.account_id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(**({"model": "tiermesh-image", "prompt": "a fox"} | fields))  # type: ignore[call-overload] # wrong on purpose
    assert caught.value.param == param
    assert mesh.command_now("balance", mesh.account_id) == before


async def test_a_client_that_leaves_pays_nothing(mesh: LocalMesh) -> None:
    account = FundedAccount(mesh)
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(
            mesh.base_url + "/images/generations",
            json={"model": "tiermesh-image", "prompt": "a fox", "n": 4, "size": "256x256", "steps": 100},
            headers={"Authorization": f"Bearer {account.new_key()['api_key']}"},
            timeout=0.5,
        )
    await eventually(account.paid_nothing)


def test_a_prompt_is_not_for_the_log(mesh: LocalMesh, client: openai.OpenAI) -> None:
    client.images.generate(model="tiermesh-image", prompt="canary-in-the-prompt " * 100)
    logs = [path.read_text() for path in mesh.state_dir.parent.rglob("*.log")]
    assert logs
    assert not any("canary-in-the-prompt" in log for log in logs)
