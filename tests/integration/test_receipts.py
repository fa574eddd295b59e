"""Every paid answer carries a receipt that proves what was asked, what was sent and what it has cost."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import jwt
import openai
import pytest

from services.common.receipts.claims import ReceiptClaims
from services.common.receipts.finding import covered, find_token
from services.common.receipts.verifying import PublicKeys, read_public_keys, verify
from tests.support.account import FundedAccount
from tests.support.commands import run_forked
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.raw_http import connect, request
from tests.support.waiting import eventually

# Slow enough to be hurt in the middle of an answer: each token takes 10 ms.
SETTINGS = {"TIERMESH_RUNNER_SIMULATED_SPEED": "100", "TIERMESH_EDGE_DRAIN_SECONDS": "0.5"}
QUESTION = "Tell me about the bridge over the river"
PROMPT: Any = [{"role": "user", "content": QUESTION}]
MODEL = "tiermesh-pro"
USAGE = {"stream_options": {"include_usage": True}}
# What is asked of each endpoint that takes JSON, and what it costs.
ASKED: dict[str, tuple[str, dict[str, Any], int]] = {
    "chat": ("chat/completions", {"model": MODEL, "messages": PROMPT, "max_tokens": 5, "n": 2}, 10),
    "chat stream": ("chat/completions", {"model": MODEL, "messages": PROMPT, "max_tokens": 5, "stream": True}, 10),
    "chat usage": (
        "chat/completions",
        {"model": MODEL, "messages": PROMPT, "stream": True, "max_tokens": 5, **USAGE},
        10,
    ),
    "completion": ("completions", {"model": MODEL, "prompt": QUESTION, "max_tokens": 5}, 10),
    "completion stream": ("completions", {"model": MODEL, "prompt": QUESTION, "max_tokens": 5, "stream": True}, 10),
    "response": ("responses", {"model": MODEL, "input": QUESTION, "max_output_tokens": 5}, 10),
    "response stream": ("responses", {"model": MODEL, "input": QUESTION, "max_output_tokens": 5, "stream": True}, 10),
    "message": ("messages", {"model": MODEL, "messages": PROMPT, "max_tokens": 5}, 10),
    "message stream": ("messages", {"model": MODEL, "messages": PROMPT, "max_tokens": 5, "stream": True}, 10),
    "embeddings": ("embeddings", {"model": "tiermesh-embed", "input": ["a", "b"]}, 1),
    "speech stream": (
        "audio/speech",
        {"model": "tiermesh-speech", "input": "Hello.", "voice": "alloy", "stream_format": "sse"},
        3,
    ),
}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    tiers = ("pro", "embedding", "speech", "transcription")
    with LocalMesh(tmp_path_factory.mktemp("receipts"), tiers=tiers, environ=SETTINGS) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def keys(mesh: LocalMesh) -> PublicKeys:
    return read_public_keys(httpx2.get(keys_url(mesh)).raise_for_status().content)


@pytest.fixture
def customer(mesh: LocalMesh) -> Customer:
    return Customer(mesh)


class Customer(FundedAccount):
    """An account of its own with 1,000 credits and a key without a limit."""

    def __init__(self, mesh: LocalMesh) -> None:
        super().__init__(mesh)
        self.key = self.new_key()["api_key"]
        self.headers = {"Authorization": f"Bearer {self.key}"}

    def ask(self, path: str, body: dict[str, Any] | bytes) -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {**self.headers, "Content-Type": "application/json"}
        url = f"{self.mesh.base_url}/{path}"
        return httpx2.post(url, content=content, headers=headers, timeout=stretched(30))

    def stream(self, hurt: Any) -> bytes:
        """Asks for a long stream, and hurts the mesh after its first event; returns the whole body."""
        body = {"model": MODEL, "messages": PROMPT, "max_tokens": 500, "stream": True}
        content = json.dumps(body).encode()
        url = f"{self.mesh.base_url}/chat/completions"
        headers = {**self.headers, "Content-Type": "application/json"}
        with (
            httpx2.Client(timeout=stretched(30)) as http,
            http.stream("POST", url, content=content, headers=headers) as response,
        ):
            pieces = response.iter_raw()
            first = next(pieces)
            hurt()
            return b"".join([first, *pieces])

    def recorded(self, claims: ReceiptClaims) -> Any:
        """Returns what billing says of the same request."""
        answer = httpx2.get(f"{self.mesh.base_url}/requests/{claims.request_id}", headers=self.headers)
        return answer.raise_for_status().json()

    def agrees(self, claims: ReceiptClaims) -> None:
        """Checks that the receipt says what the ledger says."""
        record = self.recorded(claims)
        assert (record["status"], record["model"], record["quantity"], record["credits_charged"]) == (
            claims.outcome,
            claims.model,
            claims.quantity,
            claims.charged,
        )
        assert record["usage"]["prompt_tokens"] == claims.prompt_tokens
        assert record["usage"]["completion_tokens"] == claims.completion_tokens


def keys_url(mesh: LocalMesh) -> str:
    return mesh.base_url.removesuffix("/v1") + "/.well-known/jwks.json"


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_carries_a_receipt_of_all_of_it(customer: Customer, keys: PublicKeys, name: str) -> None:
    path, asked, price = ASKED[name]
    body = json.dumps(asked).encode()
    response = customer.ask(path, body)
    assert response.status_code == 200, response.text
    streamed = "stream" in response.headers["content-type"]
    assert ("x-tiermesh-receipt" in response.headers) is not streamed
    content = response.content
    claims = verify(find_token(content) if streamed else response.headers["x-tiermesh-receipt"], keys)
    assert claims.request_id == response.headers["x-request-id"]
    assert (claims.unit_price, claims.quantity, claims.charged, claims.outcome) == (price, 1, price, "completed")
    assert claims.request_sha256 == digest(body)
    assert claims.answer_sha256 == digest(covered(content))
    # Nothing but the receipt is left out.
    assert covered(content) == (content[: content.rindex(b": tiermesh-receipt ")] if streamed else content)
    customer.agrees(claims)


def test_a_receipt_is_about_a_body_before_its_compression(customer: Customer, keys: PublicKeys) -> None:
    import gzip

    body = json.dumps({"model": "tiermesh-embed", "input": ["a word"] * 20}).encode()
    url = f"{customer.mesh.base_url}/embeddings"
    headers = {**customer.headers, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = httpx2.post(url, content=gzip.compress(body), headers=headers, timeout=stretched(30))
    assert response.headers["content-encoding"] == "gzip"
    claims = verify(response.headers["x-tiermesh-receipt"], keys)
    assert claims.request_sha256 == digest(body)
    assert claims.answer_sha256 == digest(response.content)


async def test_a_file_has_its_receipt_behind_it_if_the_client_reads_trailers(
    customer: Customer, keys: PublicKeys
) -> None:
    body = json.dumps({"model": "tiermesh-speech", "input": "Hello.", "voice": "alloy"}).encode()
    base = {"Authorization": f"Bearer {customer.key}", "Content_Type": "application/json"}
    async with connect(customer.mesh.base_url) as connection:
        await connection.send(request("POST", "/v1/audio/speech", body, TE="trailers", **base))
        with_trailer = await connection.response()
        # The connection is as good as before.
        await connection.send(request("POST", "/v1/audio/speech", body, **base))
        without = await connection.response()
    assert with_trailer.headers["trailer"] == "x-tiermesh-receipt"
    claims = verify(with_trailer.trailers["x-tiermesh-receipt"], keys)
    assert claims.request_id == with_trailer.headers["x-request-id"]
    assert (claims.charged, claims.outcome) == (3, "completed")
    assert claims.request_sha256 == digest(body)
    assert claims.answer_sha256 == digest(with_trailer.body)
    assert without.status == 200
    assert without.trailers == {}
    assert "trailer" not in without.headers


@pytest.mark.parametrize("stream", [False, True])
def test_a_recording_is_proven_with_the_form_around_it(customer: Customer, keys: PublicKeys, stream: bool) -> None:
    spoken = customer.ask("audio/speech", {"model": "tiermesh-speech", "input": "Hello there. " * 20, "voice": "alloy"})
    fields = {"model": "tiermesh-transcribe", "prompt": "x" * 4000, **({"stream": "true"} if stream else {})}
    with httpx2.Client(timeout=stretched(60)) as http:
        asked = http.build_request(
            "POST",
            f"{customer.mesh.base_url}/audio/transcriptions",
            data=fields,
            files={"file": ("a.mp3", spoken.content)},
            headers=customer.headers,
        )
        body = asked.read()
        response = http.send(asked)
    assert response.status_code == 200, response.text
    token = find_token(response.content) if stream else response.headers["x-tiermesh-receipt"]
    claims = verify(token, keys)
    assert claims.request_sha256 == digest(body)
    assert claims.answer_sha256 == digest(covered(response.content))
    customer.agrees(claims)


def test_an_answer_without_output_has_a_receipt_of_nothing(customer: Customer, keys: PublicKeys) -> None:
    asked = {"model": MODEL, "messages": PROMPT, "max_tokens": 1}
    first = customer.ask("chat/completions", asked).json()["choices"][0]["message"]["content"].strip()
    for stream in (False, True):
        response = customer.ask("chat/completions", {**asked, "max_tokens": 9, "stop": [first], "stream": stream})
        token = find_token(response.content) if stream else response.headers["x-tiermesh-receipt"]
        claims = verify(token, keys)
        assert (claims.outcome, claims.charged, claims.unit_price) == ("empty", 0, 10)
        assert claims.answer_sha256 == digest(covered(response.content))
        customer.agrees(claims)


async def test_a_stream_that_failed_has_a_receipt_that_says_so(customer: Customer, keys: PublicKeys) -> None:
    content = customer.stream(lambda: customer.mesh.kill("runner-pro"))
    await failed(customer, keys, content)
    await customer.mesh.until_serving()


async def test_a_stream_that_an_edge_cuts_off_has_a_receipt_that_says_so(customer: Customer, keys: PublicKeys) -> None:
    edge = customer.mesh.pids["edge"]
    content = customer.stream(lambda: os.kill(edge, signal.SIGTERM))
    await customer.mesh.until_restarted("edge", edge)
    await customer.mesh.until_serving()
    await failed(customer, keys, content)
    # The next edge signs with the same key.
    assert read_public_keys(httpx2.get(keys_url(customer.mesh)).content).keys() == keys.keys()


async def failed(customer: Customer, keys: PublicKeys, content: bytes) -> None:
    claims = verify(find_token(content), keys)
    assert (claims.outcome, claims.charged, claims.prompt_tokens, claims.completion_tokens) == ("failed", 0, 0, 0)
    assert claims.answer_sha256 == digest(covered(content))
    assert b'"error"' in covered(content).rstrip().rsplit(b"\n", 1)[-1]
    # The hold is released in the background.
    await eventually(lambda: customer.recorded(claims)["status"] == "failed")
    customer.agrees(claims)


@pytest.mark.parametrize(
    "fields", [{"temperature": 9}, {"model": "nothing"}, {"model": "tiermesh-max"}, {"model": "tiermesh-embed"}]
)
def test_what_was_refused_has_no_receipt(customer: Customer, fields: dict[str, Any]) -> None:
    for stream in (False, True):
        asked = {"model": MODEL, "messages": PROMPT, "max_tokens": 1, "stream": stream, **fields}
        response = customer.ask("chat/completions", asked)
        assert response.status_code >= 400
        assert "x-tiermesh-receipt" not in response.headers
        assert b"tiermesh-receipt" not in response.content


def test_official_clients_read_streams_and_find_the_receipt(customer: Customer, keys: PublicKeys) -> None:
    with openai.OpenAI(base_url=customer.mesh.base_url, api_key=customer.key, max_retries=0) as client:
        asked: dict[str, Any] = {"model": MODEL, "messages": PROMPT, "max_tokens": 3}
        raw = client.chat.completions.with_raw_response.create(**asked)
        assert verify(raw.headers["x-tiermesh-receipt"], keys).answer_sha256 == digest(raw.content)
        chunks = list(client.chat.completions.create(**asked, stream=True))
        assert chunks[-1].choices[0].finish_reason == "length"
        with client.chat.completions.with_streaming_response.create(**asked, stream=True) as response:
            content = b"".join(response.iter_bytes())
        assert verify(find_token(content), keys).answer_sha256 == digest(covered(content))
        events = list(client.responses.create(model=MODEL, input=QUESTION, max_output_tokens=3, stream=True))
        assert events[-1].type == "response.incomplete"
    url = customer.mesh.base_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=url, api_key=customer.key, max_retries=0) as claude:
        told = list(claude.messages.create(**asked, stream=True))
        assert told[-1].type == "message_stop"


def test_a_library_checks_a_receipt_by_the_address_of_the_keys(customer: Customer) -> None:
    """The sample of docs/receipts.md."""
    path, asked, price = ASKED["chat"]
    token = customer.ask(path, asked).headers["x-tiermesh-receipt"]
    keys = jwt.PyJWKClient(keys_url(customer.mesh))
    claims = jwt.decode(token, keys.get_signing_key_from_jwt(token), algorithms=["EdDSA"])
    assert claims["charged"] == price


def test_the_command_says_in_one_line_what_a_receipt_proves(customer: Customer, tmp_path: Path) -> None:
    path, asked, _ = ASKED["chat stream"]
    sent, got, other = tmp_path / "request.json", tmp_path / "answer.txt", tmp_path / "other.txt"
    sent.write_bytes(json.dumps(asked).encode())
    response = customer.ask(path, sent.read_bytes())
    got.write_bytes(response.content)
    other.write_bytes(response.content.replace(b"stop", b"STOP").replace(b"length", b"LENGTH"))
    verify_it = ("receipt", "verify", str(got), "--state-dir", str(customer.mesh.state_dir))
    good = run_forked(*verify_it, "--request", str(sent), "--answer", str(got))
    assert good.returncode == 0, good.stderr
    assert good.stdout.count("\n") == 1
    assert good.stdout.startswith(f"Genuine: {response.headers['x-request-id']} for {MODEL} cost 10 credits")
    assert good.stdout.endswith("; it is for the request and answer given.\n")
    as_json = json.loads(run_forked(*verify_it, "--keys", keys_url(customer.mesh), "--json").stdout)
    assert as_json["request_sha256"] == digest(sent.read_bytes())
    for arguments, message in (
        (("--request", str(got)), "for another request"),
        (("--answer", str(other)), "for another answer"),
        (("--keys", customer.mesh.base_url + "/models"), "answers with status 401"),
        (("--keys", str(tmp_path / "missing")), "Cannot read"),
    ):
        bad = run_forked(*verify_it, *arguments)
        assert bad.returncode == 1
        assert message in bad.stderr


def test_the_private_key_is_for_its_owner_alone(mesh: LocalMesh) -> None:
    path = mesh.state_dir / "receipt-keys.json"
    assert path.stat().st_mode & 0o777 == 0o600
    private = json.loads(path.read_bytes())["keys"][0]
    published = httpx2.get(keys_url(mesh))
    assert published.json()["keys"] == [{name: value for name, value in private.items() if name != "d"}]
    assert published.headers["cache-control"] == "public, max-age=300"
    assert httpx2.get(mesh.base_url + "/.well-known/jwks.json").content == published.content
