"""The vision samples of both references, and what is refused, with the official SDK."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionUserMessageParam

from services.common.settings import TlsSettings
from tests.support.certificates import CertificateAuthority
from tests.support.image_server import ImageServer, http_response
from tests.support.images import plain_image
from tests.support.mesh import LocalMesh
from tests.support.node import run_sample
from tests.support.process import ServiceProcess

MODEL = "tiermesh-max"


class _ServerThread:
    """An image server with a loop of its own, for tests without one."""

    def __init__(self, server: ImageServer) -> None:
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> ImageServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(10)
        return self.server

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsSettings:
    return CertificateAuthority().issue(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(tls: TlsSettings) -> Iterator[ImageServer]:
    with _ServerThread(ImageServer(tls)) as server:
        yield server


@contextmanager
def edge(mesh: LocalMesh, directory: Path, tls: TlsSettings, **settings: str) -> Iterator[openai.OpenAI]:
    """A further edge of the mesh that trusts the authority of the tests."""
    addresses = {f"{name}_addresses": mesh.addresses[name] for name in ("auth", "billing", "router")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", tls.ca_file)
        process = ServiceProcess("edge", directory, {**addresses, **mesh.tls_settings("edge"), **settings})
        asyncio.run(process.start())
    try:
        url = f"http://{process.address}/v1"
        with openai.OpenAI(base_url=url, api_key=mesh.unlimited_key, max_retries=0) as client:
            yield client
    finally:
        asyncio.run(process.kill())


@pytest.fixture(scope="module")
def sample_client(
    sample_mesh: LocalMesh, server: ImageServer, tls: TlsSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[openai.OpenAI]:
    """A client of an edge that may fetch from this machine."""
    settings = {"remote_image_networks": "127.0.0.0/8,::1/128", "remote_image_ports": str(server.port)}
    with edge(sample_mesh, tmp_path_factory.mktemp("edge"), tls, **settings) as client:
        yield client


@pytest.fixture
def nothing_is_charged(real_mesh: LocalMesh) -> Iterator[None]:
    before = real_mesh.command_now("balance", real_mesh.account_id)
    yield
    assert real_mesh.command_now("balance", real_mesh.account_id) == before


def data_url(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def question(text: str, *urls: str) -> ChatCompletionUserMessageParam:
    content: list[ChatCompletionContentPartParam] = [{"type": "text", "text": text}]
    content += [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in urls]
    return {"role": "user", "content": content}


def ask(client: openai.OpenAI, *urls: str, model: str = MODEL) -> str:
    messages = [question("What color is this image?", *urls)]
    answer = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=40)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    return answer.choices[0].message.content or ""


def refusal(client: openai.OpenAI, *urls: str, model: str = MODEL) -> openai.BadRequestError:
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, *urls, model=model)
    return error.value


@pytest.mark.parametrize("colour", ["red", "green", "blue", "white", "black"])
def test_an_inline_image_is_seen(client: openai.OpenAI, colour: str) -> None:
    assert colour in ask(client, data_url(plain_image(colour)))


def test_the_sample_of_c0mpute(sample_client: openai.OpenAI, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(plain_image("red"))
    img = base64.b64encode(photo.open("rb").read()).decode()
    resp = sample_client.chat.completions.create(
        model=MODEL,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What's in this image?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{img}"}},
                ],
            }
        ],
    )
    assert resp.choices[0].message.content


def test_the_sample_of_bytecompute(sample_client: openai.OpenAI, server: ImageServer) -> None:
    server.responses["/boardwalk.jpg"] = http_response(plain_image("blue", form="JPEG"), content_type="image/jpeg")
    url = server.url("/boardwalk.jpg")
    response = sample_client.chat.completions.create(
        model=MODEL,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What's in this image?"},
                    {"type": "image_url", "image_url": {"url": url}},
                ],
            }
        ],
    )
    assert response.choices[0].message.content
    assert "blue" in ask(sample_client, url)
    assert len(server.requests) == 2


def test_the_sample_of_bytecompute_in_javascript(
    sample_client: openai.OpenAI, sample_mesh: LocalMesh, server: ImageServer
) -> None:
    server.responses["/walk.jpg"] = http_response(plain_image("green", form="JPEG"), content_type="image/jpeg")
    environ = {"BASE_URL": str(sample_client.base_url), "IMAGE_URL": server.url("/walk.jpg")}
    completion = run_sample("vision", sample_mesh, model=MODEL, **environ)
    assert completion["choices"][0]["message"]["content"]


def test_a_streamed_answer_about_an_image(client: openai.OpenAI) -> None:
    messages = [question("What color is this image?", data_url(plain_image("red")))]
    stream = client.chat.completions.create(model=MODEL, messages=messages, temperature=0, max_tokens=40, stream=True)
    assert "red" in "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


@pytest.mark.usefixtures("nothing_is_charged")
def test_a_model_that_cannot_see_says_so(client: openai.OpenAI) -> None:
    error = refusal(client, data_url(plain_image()), model="tiermesh-pro")
    assert "cannot see images; choose a model with vision" in error.message
    assert error.param == "messages[0].content[1]"


@pytest.mark.usefixtures("nothing_is_charged")
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("data:image/png;base64,AAAA", "not an image in a supported format"),
        ("data:image/png;base64,!", "not valid base64"),
        (data_url(plain_image()[:60]), "damaged"),
        ("https://169.254.169.254/latest/meta-data/", "not on the public internet"),
        ("https://localhost/a.png", "not on the public internet"),
        ("https://2130706433/a.png", "unusual spelling"),
        ("http://example.com/a.png", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("gopher://localhost/", "must begin with https://"),
    ],
)
def test_a_bad_image_is_refused(client: openai.OpenAI, url: str, reason: str) -> None:
    error = refusal(client, url)
    assert reason in error.message
    assert error.param is not None
    assert error.param.startswith("messages")


@pytest.mark.usefixtures("nothing_is_charged")
def test_too_many_and_too_large_images_are_refused(client: openai.OpenAI) -> None:
    url = data_url(plain_image())
    assert "at most 64" in refusal(client, *[url] * 65).message
    assert (
        "10000 x 10000 pixels"
        in refusal(client, data_url(plain_image()[:16] + (10_000).to_bytes(4, "big") * 2 + plain_image()[24:])).message
    )
    assert "10,485,760 bytes" in refusal(client, data_url(bytes(11_000_000))).message


@pytest.mark.usefixtures("nothing_is_charged")
def test_an_operator_may_switch_fetching_off(real_mesh: LocalMesh, tls: TlsSettings, tmp_path: Path) -> None:
    with edge(real_mesh, tmp_path, tls, remote_images="off") as client:
        assert "is not fetched here" in refusal(client, "https://example.com/a.png").message
    with edge(real_mesh, tmp_path, tls, remote_images="images.example.org") as client:
        assert "is on a host that images are not fetched from" in refusal(client, "https://example.com/a.png").message
