"""The edge is a good HTTP server: to browsers, to proxies, to old clients and to bad ones."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from services.common.receipts.finding import covered
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.raw_http import connect, request

HELLO: dict[str, Any] = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
ORIGIN = "https://chat.example.com"


@pytest.fixture
def http(mesh: LocalMesh) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}"}
    with httpx2.Client(base_url=mesh.base_url, headers=headers, timeout=stretched(30)) as client:
        yield client


def chat(mesh: LocalMesh, *, max_tokens: int = 2, **headers: str) -> bytes:
    body = json.dumps(HELLO | {"max_tokens": max_tokens}).encode()
    return request("POST", "/v1/chat/completions", body, Authorization=f"Bearer {mesh.unlimited_key}", **headers)


@pytest.mark.parametrize("path", ["/chat/completions", "/models", "/models/tiermesh-pro", "/keys", "/nothing/at/all"])
def test_a_preflight_needs_no_key(mesh: LocalMesh, path: str) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
    }
    response = httpx2.options(mesh.base_url + path, headers=asked)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-allow-headers"] == "authorization,content-type,x-stainless-lang"
    assert int(response.headers["access-control-max-age"]) > 0
    assert "access-control-allow-credentials" not in response.headers


def test_a_page_may_read_what_the_service_adds(http: httpx2.Client) -> None:
    response = http.post("/chat/completions", json=HELLO, headers={"Origin": ORIGIN})
    assert response.headers["access-control-allow-origin"] == "*"
    exposed = response.headers["access-control-expose-headers"]
    assert {"x-request-id", "x-tiermesh-credits-charged", "retry-after"} <= set(exposed.split(", "))


def test_a_page_may_read_refusals_and_streams(mesh: LocalMesh, http: httpx2.Client) -> None:
    refused = httpx2.get(mesh.base_url + "/models", headers={"Origin": ORIGIN})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "*"
    stream = http.post("/chat/completions", json=HELLO | {"stream": True}, headers={"Origin": ORIGIN})
    assert stream.headers["access-control-allow-origin"] == "*"


def test_outside_of_browsers_there_is_no_cors(http: httpx2.Client) -> None:
    assert not [name for name in http.get("/models").headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/models", 200),
        ("POST", "/chat/completions", 400),
        ("POST", "/nothing", 404),
        ("PUT", "/models", 405),
        ("OPTIONS", "/models", 204),
        ("GET", "/openapi.json", 200),
        ("GET", "/images/files/none.png", 404),
    ],
)
def test_every_answer_has_a_name_of_its_own(http: httpx2.Client, method: str, path: str, status: int) -> None:
    answers = [http.request(method, path) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [status, status]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 2


def test_a_refused_key_is_told_how_to_authenticate(mesh: LocalMesh) -> None:
    for headers in ({}, {"Authorization": "Bearer sk-unknown"}):
        response = httpx2.get(mesh.base_url + "/models", headers=headers)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        # Some clients repeat a 401 for minutes unless they are told not to.
        assert response.headers["x-should-retry"] == "false"


def test_text_says_how_it_is_encoded(http: httpx2.Client) -> None:
    stream = http.post("/chat/completions", json=HELLO | {"stream": True})
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"


def test_options_lists_the_methods(mesh: LocalMesh) -> None:
    assert httpx2.options(mesh.base_url + "/models").headers["allow"] == "GET, HEAD, OPTIONS"
    assert httpx2.options(mesh.base_url + "/chat/completions").headers["allow"] == "POST, OPTIONS"


def test_head_is_get_without_a_body(mesh: LocalMesh, http: httpx2.Client) -> None:
    get, head = http.get("/balance"), http.head("/balance")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert httpx2.head(mesh.base_url + "/balance").status_code == 401
    assert http.head("/chat/completions").status_code == 405


@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_requests_are_read(http: httpx2.Client, encoding: str, encode: Any) -> None:
    body = encode(json.dumps(HELLO).encode())
    response = http.post("/chat/completions", content=body, headers={"Content-Encoding": encoding})
    assert response.status_code == 200, response.text


def test_a_compressed_bomb_is_413(http: httpx2.Client) -> None:
    bomb = gzip.compress(b'{"model":"' + b"a" * (200 * 1024 * 1024) + b'"}', compresslevel=9)
    assert len(bomb) < 300_000
    response = http.post("/chat/completions", content=bomb, headers={"Content-Encoding": "gzip"})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip"])
def test_unknown_encodings_are_400(http: httpx2.Client, encoding: str) -> None:
    response = http.post("/chat/completions", content=b"\x0b\x02\x80", headers={"Content-Encoding": encoding})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "Content-Encoding")
    assert "gzip, deflate or plain" in error["message"]


# Named, because gzip writes the time into its header: each process of a parallel run must see the same names.
@pytest.mark.parametrize(
    "body", [b"not gzip at all", gzip.compress(json.dumps(HELLO).encode())[:40]], ids=["foreign", "cut short"]
)
def test_broken_compression_is_400(http: httpx2.Client, body: bytes) -> None:
    response = http.post("/chat/completions", content=body, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 400
    assert http.post("/chat/completions", json=HELLO).status_code == 200


def test_large_answers_are_compressed_for_those_who_ask(http: httpx2.Client) -> None:
    asked = HELLO | {"max_tokens": 3000, "logprobs": True}
    plain = http.post("/chat/completions", json=asked, headers={"Accept-Encoding": "identity"})
    packed = http.post("/chat/completions", json=asked, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) < len(plain.content)
    assert packed.json()["choices"] == plain.json()["choices"]


def test_streams_and_small_answers_are_not_compressed(http: httpx2.Client) -> None:
    for body in (HELLO, HELLO | {"stream": True, "max_tokens": 2000}):
        response = http.post("/chat/completions", json=body, headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in response.headers


async def test_pipelined_requests_are_answered_in_their_order(mesh: LocalMesh) -> None:
    key = f"Bearer {mesh.unlimited_key}"
    requests = [chat(mesh, max_tokens=200), request("GET", "/v1/balance", Authorization=key), chat(mesh, max_tokens=1)]
    async with connect(mesh.base_url) as connection:
        await connection.send(b"".join(requests))
        answers = [await connection.response() for _ in requests]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [answer.json()["object"] for answer in answers] == ["chat.completion", "balance", "chat.completion"]
    assert [answers[0].json()["usage"]["completion_tokens"], answers[2].json()["usage"]["completion_tokens"]] == [
        200,
        1,
    ]


async def test_old_clients_get_answers_that_end_with_the_connection(mesh: LocalMesh) -> None:
    for streamed in (False, True):
        body = json.dumps(HELLO | {"stream": streamed}).encode()
        old = request("POST", "/v1/chat/completions", body, Authorization=f"Bearer {mesh.unlimited_key}")
        async with connect(mesh.base_url) as connection:
            await connection.send(old.replace(b"HTTP/1.1", b"HTTP/1.0"))
            answer = await connection.until_closed()
        assert b" 200 OK\r\n" in answer
        assert b"chunked" not in answer
        assert covered(answer).endswith(b"data: [DONE]\n\n" if streamed else b"}")


async def test_a_body_is_asked_for_only_if_the_key_is_good(mesh: LocalMesh) -> None:
    body = json.dumps(HELLO).encode()
    for key, first in ((mesh.unlimited_key, 100), ("sk-tiermesh-wrong", 401)):
        head = request("POST", "/v1/chat/completions", Authorization=f"Bearer {key}", Expect="100-continue",
                       Content_Length=str(len(body)))  # fmt: skip
        async with connect(mesh.base_url) as connection:
            await connection.send(head)
            assert (await connection.response()).status == first
            if first == 100:
                await connection.send(body)
                assert (await connection.response()).status == 200


async def test_other_expectations_are_417(mesh: LocalMesh) -> None:
    async with connect(mesh.base_url) as connection:
        await connection.send(chat(mesh, Expect="a miracle"))
        answer = await connection.response()
    assert (answer.status, answer.json()["error"]["code"]) == (417, "expectation_failed")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(1000)) + b"\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["long-header", "many-headers", "long-url", "smuggled", "negative-length", "tls"],
)
async def test_what_is_no_good_http_is_refused_and_the_connection_closed(mesh: LocalMesh, head: bytes) -> None:
    async with connect(mesh.base_url) as connection:
        await connection.send(head)
        answer = await connection.response()
        assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_request")
        assert await connection.until_closed() == b""


async def test_a_chunked_body_is_read(mesh: LocalMesh) -> None:
    body = json.dumps(HELLO).encode()
    head = request("POST", "/v1/chat/completions", Authorization=f"Bearer {mesh.unlimited_key}",
                   Transfer_Encoding="chunked")  # fmt: skip
    async with connect(mesh.base_url) as connection:
        await connection.send(head + b"%x\r\n%b\r\n" % (10, body[:10]))
        await connection.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 10, body[10:]))
        assert (await connection.response()).status == 200


async def test_a_connection_serves_many_requests(mesh: LocalMesh) -> None:
    async with connect(mesh.base_url) as connection:
        for _ in range(20):
            await connection.send(chat(mesh))
            assert (await connection.response()).status == 200
            await asyncio.sleep(0)


async def test_no_answer_names_the_versions_of_its_server(mesh: LocalMesh, http: httpx2.Client) -> None:
    answers = [
        http.get("/models"),
        http.get("/nothing"),
        http.post("/chat/completions", json={}),
        http.post("/chat/completions", json=HELLO | {"stream": True}),
        http.delete("/models"),
        httpx2.get(mesh.base_url + "/models"),
        httpx2.get(mesh.base_url + "/openapi.json"),
        httpx2.options(mesh.base_url + "/models"),
    ]
    assert {answer.headers["server"] for answer in answers} == {"tiermesh"}
    async with connect(mesh.base_url) as connection:
        await connection.send(b"\x00 is no HTTP\r\n\r\n")
        assert b"\r\nServer: tiermesh\r\n" in await connection.until_closed()


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "resp_1", "not_found"),
        ("GET", "resp_1/input_items", "not_found"),
        ("DELETE", "resp_1", "not_found"),
        ("POST", "resp_1/cancel", "not_found"),
        ("POST", "resp_1/input_items", "unknown_url"),
        ("DELETE", "resp_1/input_items", "unknown_url"),
        ("GET", "resp_1/more/of/it", "unknown_url"),
    ],
)
def test_only_what_could_be_stored_is_missing(http: httpx2.Client, method: str, path: str, code: str) -> None:
    answer = http.request(method, f"/responses/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)


def test_models_say_since_when_they_are_sold(http: httpx2.Client) -> None:
    created = {model["id"]: model["created"] for model in http.get("/models").json()["data"]}
    # 2026-11-30, UTC, and 2026-11-21 of all others.
    assert created.pop("tiermesh-lite") == 1795996800
    assert set(created.values()) == {1795219200}
    assert http.get("/models/tiermesh-pro").json()["created"] == 1795219200
