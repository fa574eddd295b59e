"""What can be said about images without a network; fetching is tested with real servers."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import pytest

from services.common.errors import Code, MeshError
from services.edge.remote_images import FetchPolicy, ImageFetcher, ImageLimits, ImageLoader, ImageSource
from services.edge.remote_images.turns import FairTurns
from tests.support.images import plain_image

TURNS = FairTurns(4, wait_seconds=10)
PARAM = "messages[0].content[1].image_url.url"


async def no_network(host: str) -> Sequence[str]:
    raise AssertionError(f"{host} was resolved")


def loader(**limits: int) -> ImageLoader:
    return ImageLoader(ImageFetcher(FetchPolicy(enabled=False), no_network), ImageLimits(**limits), TURNS)


def data_url(image: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(image).decode()}"


async def refusal(url: str, **limits: int) -> str:
    with pytest.raises(MeshError) as error:
        await loader(**limits).load([ImageSource(url, PARAM)], "account")
    assert (error.value.code, error.value.param) == (Code.INVALID_REQUEST, PARAM)
    return error.value.message


async def test_images_come_in_their_order() -> None:
    images = [plain_image(colour) for colour in ("red", "green", "blue")]
    assert await loader().load([ImageSource(data_url(image), PARAM) for image in images], "account") == images
    assert await loader().load([], "account") == []


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/JPEG", "image/svg+xml", "image/png;charset=utf-8"])
async def test_the_declared_type_may_be_wrong(kind: str) -> None:
    image = plain_image()
    assert await loader().load([ImageSource(data_url(image, kind), PARAM)], "account") == [image]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png,plain", "must begin with data:image/png;base64,"),
        ("data:text/html;base64,AAAA", "must begin with data:image/png;base64,"),
        ("data:;base64,AAAA", "must begin with"),
        ("data:image/png;base64,", "cannot be shown to the model: it is not an image"),
        ("data:image/png;base64,AAAA", "it is not an image in a supported format: PNG, JPEG, WEBP, GIF"),
        ("data:image/png;base64,AAA", "it is not an image in a supported format"),
        ("data:image/png;base64,AA\nAA", "it is not an image in a supported format"),
        ("data:image/png;base64,A", "is not valid base64"),
        ("data:image/png;base64,AAAA=", "is not valid base64"),
        ("data:image/png;base64,AA=A", "is not valid base64"),
        ("data:image/png;base64,AA\u00a0AA", "is not valid base64"),
        ("data:image/png;base64,AA\x0bAA", "is not valid base64"),
        ("data:image/png;base64,____", "is not valid base64"),
        ("data:image/png;base64,é", "is not valid base64"),
        ("https://example.com/a.png", "is not fetched here; send the image itself as a data: URL"),
        ("file:///etc/passwd", "is not fetched here"),
    ],
)
async def test_bad_urls_are_refused(url: str, message: str) -> None:
    text = await refusal(url)
    assert message in text
    assert f"'{PARAM}'" in text


async def test_a_secret_in_a_url_is_not_repeated() -> None:
    assert "secret" not in await refusal("https://example.com/?token=secret")


async def test_limits() -> None:
    image = plain_image(size=(100, 50))
    url = data_url(image)
    assert "is larger than the limit of 20 bytes" in await refusal(url, bytes_each=20)
    assert "has 100 x 50 pixels; at most 4,999" in await refusal(url, pixels=4999)
    assert await loader(bytes_each=len(image), pixels=5000).load([ImageSource(url, PARAM)], "account") == [image]


async def test_limits_of_all_together() -> None:
    sources = [ImageSource(data_url(plain_image()), f"messages[0].content[{at}].image_url.url") for at in range(3)]
    with pytest.raises(MeshError, match="one image too many: at most 2") as error:
        await loader(images=2).load(sources, "account")
    assert error.value.param == "messages[0].content[2].image_url.url"
    with pytest.raises(MeshError, match="bytes together"):
        await loader(bytes_together=2 * len(plain_image())).load(sources, "account")


async def test_a_huge_text_is_not_even_decoded() -> None:
    assert "is larger than the limit of 1,000 bytes" in await refusal(
        "data:image/png;base64," + "!" * 2000, bytes_each=1000
    )


async def test_nothing_is_fetched_if_another_image_is_wrong() -> None:
    remote = ImageLoader(ImageFetcher(FetchPolicy(), no_network), ImageLimits(), TURNS)
    good = ImageSource("https://example.com/a.png", PARAM)
    for bad in ("data:image/png;base64,AAAA", "https://user:password@example.com/", "ftp://example.com/a.png"):
        with pytest.raises(MeshError) as error:
            await remote.load([good, ImageSource(bad, "messages[1].content[0].image_url.url")], "account")
        assert error.value.param == "messages[1].content[0].image_url.url"


@pytest.mark.parametrize(
    "form",
    [
        "data:image/png;base64, {}",
        "data:image/png;base64,{}\n",
        " data:image/png;base64,{} ",
        "data: image/png ; base64 ,{}",
        "DATA:IMAGE/PNG;BASE64,{}",
        "data:image/png;charset=utf-8;base64,\r\n\t{}",
    ],
)
async def test_base64_is_read_as_browsers_do(form: str) -> None:
    image = plain_image()
    image += b"\0" * ((1 - len(image)) % 3)
    encoded = base64.b64encode(image).decode()
    assert encoded.endswith("==")
    lines = "\r\n".join(encoded[at : at + 76] for at in range(0, len(encoded), 76))
    for text in (encoded, lines, encoded.rstrip("="), encoded.replace("+", "%2B").replace("=", "%3D")):
        assert await loader().load([ImageSource(form.format(text), PARAM)], "account") == [image]
