"""Wallets pay for every kind of endpoint, whole and streamed, at the price that programs are told before."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from services.common.catalog import load_catalog
from services.common.settings import DEFAULT_CATALOG
from tests.integration.x402.shop import CREDIT, NO_TLS, PRICE, PROMPT, QUESTION, Shop, Wallet, decoded
from tests.support.deadlines import stretched
from tests.support.forked_service import ForkedServiceProcess
from tests.support.images import plain_image
from tests.support.recorded_server import Answer, RecordedServer
from tests.support.waiting import eventually
from tests.unit.runner.engines.upstream.kinds.servers import SERVERS, WHISPER
from tests.unit.runner.engines.upstream.kinds.test_embedding import embed
from tests.unit.runner.engines.upstream.kinds.test_speech import sound, speak

TRANSCRIPT = {
    "task": "transcribe", "language": "en", "duration": 2.0, "text": "Hello there.",
    "segments": [{"id": 0, "start": 0.0, "end": 1.5, "text": " Hello there.", "tokens": [1, 2], "avg_logprob": -0.5}],
}  # fmt: skip
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Kind(NamedTuple):
    """One way to ask: the arguments are those of HTTPX, and the price is in credits."""

    path: str
    price: int
    arguments: dict[str, Any]


def chat(path: str, **fields: Any) -> dict[str, Kind]:
    body = {"model": "tiermesh-pro", **fields}
    return {
        path: Kind(path, PRICE, {"json": body}),
        f"{path} stream": Kind(path, PRICE, {"json": body | {"stream": True}}),
    }


def images(count: int, form: str) -> Kind:
    body = {"model": "tiermesh-image", "prompt": "A fox", "n": count, "size": "64x32", "response_format": form}
    return Kind("images/generations", 4 * count, {"json": body})


def transcription(**fields: str) -> Kind:
    data = {"model": "tiermesh-transcribe", **fields}
    return Kind("audio/transcriptions", 3, {"data": data, "files": {"file": ("a.mp3", sound("mp3"))}})


def speech(**fields: str) -> Kind:
    body = {"model": "tiermesh-speech", "input": "Hello there.", "voice": "alloy", "response_format": "mp3", **fields}
    return Kind("audio/speech", 3, {"json": body})


KINDS = {
    **chat("chat/completions", messages=PROMPT, max_tokens=5),
    **chat("completions", prompt=QUESTION, max_tokens=5),
    **chat("responses", input=QUESTION, max_output_tokens=5),
    **chat("messages", messages=PROMPT, max_tokens=5),
    "several choices": Kind(
        "chat/completions", PRICE, {"json": {"model": "tiermesh-pro", "messages": PROMPT, "max_tokens": 5, "n": 2}}
    ),
    "embeddings": Kind("embeddings", 1, {"json": {"model": "tiermesh-embed", "input": ["A fox", "A dog"]}}),
    "speech": speech(),
    "speech stream": speech(stream_format="sse"),
    "transcription": transcription(),
    "transcription stream": transcription(stream="true"),
    "one image": images(1, "url"),
    "three images": images(3, "b64_json"),
}


async def paint(request: web.Request) -> Answer:
    width, height = map(int, (await request.json())["size"].split("x"))
    return {"created": 1, "data": [{"b64_json": base64.b64encode(plain_image("blue", (width, height))).decode()}]}


# The server has each voice that is sold.
VOICES = ",".join(voice for model in load_catalog(DEFAULT_CATALOG).models for voice in model.voices)
# What the servers behind the runners of the other kinds answer.
BEHIND: dict[str, tuple[dict[str, Answer], dict[str, str]]] = {
    "embedding": (SERVERS["vLLM"] | {"/v1/embeddings": embed}, {"context": "512"}),
    "speech": (
        SERVERS["Kokoro-FastAPI"] | {"/v1/audio/speech": speak},
        {"upstream_model": "kokoro", "upstream_voices": VOICES},
    ),
    "transcription": (SERVERS["speaches"] | {"/v1/audio/transcriptions": TRANSCRIPT}, {"upstream_model": WHISPER}),
    "image": (SERVERS["vLLM"] | {"/v1/images/generations": paint}, {}),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everything(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """The shop with a runner for each kind."""
    directory = tmp_path_factory.mktemp("kinds")
    async with AsyncExitStack() as stack:
        runners = []
        for kind, (answers, settings) in BEHIND.items():
            server = await stack.enter_async_context(RecordedServer(answers))
            runners.append(_runner(shop, directory, kind, {"upstream_url": server.url, **settings}))
            stack.push_async_callback(runners[-1].kill)
            runners[-1].spawn()
        for runner in runners:
            await eventually(runner.ready, 60)

        async def all_there() -> bool:
            async with httpx.AsyncClient(verify=NO_TLS) as http:
                headers = {"Authorization": f"Bearer {shop.mesh.unlimited_key}"}
                models = (await http.get(f"{shop.mesh.base_url}/models", headers=headers)).json()["data"]
            return {"embedding", "speech", "transcription", "image"} <= {
                model["kind"] for model in models if model["available"]
            }

        await eventually(all_there, 30)
        yield shop


def _runner(shop: Shop, directory: Path, kind: str, settings: dict[str, str]) -> ForkedServiceProcess:
    chosen = {"engine": "upstream", "upstream_kind": kind, "tier": kind, **settings}
    tls = shop.mesh.tls_settings("runner")
    return ForkedServiceProcess("runner", directory, {**shop.mesh.etcd_settings, **tls, **chosen})


async def unpaid(shop: Shop, kind: Kind) -> httpx.Response:
    async with httpx.AsyncClient(verify=NO_TLS, timeout=stretched(30)) as http:
        return await http.post(f"{shop.mesh.base_url}/{kind.path}", **kind.arguments)


@pytest.mark.parametrize("name", KINDS)
async def test_a_wallet_pays_its_price(everything: Shop, name: str) -> None:
    shop, kind, wallet = everything, KINDS[name], Wallet(everything, 1)
    terms = decoded((await unpaid(shop, kind)).headers["payment-required"])
    assert [each["amount"] for each in terms["accepts"]] == [str(kind.price * CREDIT)]
    before = shop.taken()
    async with wallet.http() as http:
        answer = await http.post(f"{shop.mesh.base_url}/{kind.path}", **kind.arguments)
    assert answer.status_code == 200, answer.text
    assert shop.taken() == before + kind.price * CREDIT
    whole = not (name.endswith("stream") or name == "speech")
    assert ("payment-response" in answer.headers) is whole
    if whole:
        assert answer.headers["x-tiermesh-credits-charged"] == str(kind.price)
    if name != "speech":
        # A file that is sent while it is made has no place for it.
        receipt = await shop.receipt(answer)
        assert (receipt.outcome, receipt.charged, receipt.quantity) == ("completed", kind.price, _quantity(kind))
        assert shop.chain.rpc("eth_getTransactionReceipt", receipt.transaction)["status"] == "0x1"
    await shop.agrees()
    assert await wallet.balance() == (0, 0)


async def test_programs_find_the_price_of_each_before(everything: Shop) -> None:
    shop = everything
    root = shop.mesh.base_url.removesuffix("/v1")
    async with httpx.AsyncClient(verify=NO_TLS) as http:
        resources = (await http.get(f"{root}/.well-known/x402")).json()["resources"]
        paths = (await http.get(f"{root}/openapi.json")).json()["paths"]
    for name, kind in KINDS.items():
        assert f"{shop.mesh.base_url}/{kind.path}" in resources
        price = paths[f"/v1/{kind.path}"]["post"]["x-payment-info"]["price"]
        least, most = (price["amount"],) * 2 if price["mode"] == "fixed" else (price["min"], price["max"])
        assert Decimal(least) <= Decimal(kind.price) / 100 <= Decimal(most), name


# What is wrong with a body of each, and the field that is told.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "chat/completions": ({"temperature": 9}, "temperature"),
    "completions": ({"best_of": 2}, "best_of"),
    "responses": ({"background": True}, "background"),
    "messages": ({"max_tokens": 0}, "max_tokens"),
    "embeddings": ({"input": ""}, "input"),
    "speech": ({"speed": 99}, "speed"),
    "transcription": ({"temperature": "9"}, "temperature"),
    "one image": ({"n": 11}, "n"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_has_no_price(everything: Shop, name: str) -> None:
    changes, field = WRONG[name]
    place = "data" if name == "transcription" else "json"
    kind = KINDS[name]
    arguments = {**kind.arguments, place: kind.arguments[place] | changes}
    answer = await unpaid(everything, kind._replace(arguments=arguments))
    assert (answer.status_code, "payment-required" in answer.headers) == (400, False)
    assert f"'{field}'" in answer.json()["error"]["message"]


def _quantity(kind: Kind) -> int:
    return int(kind.arguments["json"]["n"]) if kind.path == "images/generations" else 1
