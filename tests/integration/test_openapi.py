"""The API keeps what its OpenAPI document promises, with requests that no person would think of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from services.common.receipts.finding import covered
from services.common.scopes import ENDPOINTS
from services.edge.chat.completion import ChatCompletion, ChatCompletionChunk
from services.edge.completions.response import TextCompletion
from tests.support.account import FundedAccount
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
HELLO: dict[str, Any] = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}


@pytest.fixture(scope="module")
def document(mesh: LocalMesh) -> Any:
    return httpx2.get(mesh.base_url + "/openapi.json").raise_for_status().json()


def test_it_needs_no_key_and_is_the_same_everywhere(mesh: LocalMesh, document: Any) -> None:
    root = mesh.base_url.removesuffix("/v1")
    for path in ("/openapi.json", "/api/v1/openapi.json"):
        assert httpx2.get(root + path).json() == document


@pytest.mark.parametrize("path", ["/responses/resp_1", "/audio/translations"])
def test_a_path_that_only_refuses_needs_a_key_as_any_other(mesh: LocalMesh, path: str) -> None:
    response = httpx2.post(mesh.base_url + path)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


def post(mesh: LocalMesh, path: str, body: dict[str, Any]) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}"}
    return httpx2.post(mesh.base_url + path, json=body, headers=headers, timeout=stretched(30)).raise_for_status()


@pytest.mark.parametrize("wanted", [{}, {"n": 2, "logprobs": True, "top_logprobs": 2}])
def test_answers_have_the_described_fields_and_no_others(mesh: LocalMesh, wanted: dict[str, Any]) -> None:
    whole = post(mesh, "/chat/completions", HELLO | wanted)
    msgspec.json.decode(whole.content, type=ChatCompletion)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    events = covered(post(mesh, "/chat/completions", HELLO | wanted | options).content).split(b"\n\n")
    for event in events[:-2]:
        msgspec.json.decode(event.removeprefix(b"data: "), type=ChatCompletionChunk)


def test_continuations_have_the_described_fields_and_no_others(mesh: LocalMesh) -> None:
    asked = {"model": "tiermesh-pro", "prompt": "Once", "max_tokens": 3, "logprobs": 2}
    msgspec.json.decode(post(mesh, "/completions", asked).content, type=TextCompletion)
    for event in covered(post(mesh, "/completions", asked | {"stream": True}).content).split(b"\n\n")[:-2]:
        msgspec.json.decode(event.removeprefix(b"data: "), type=TextCompletion)


def test_schemathesis_finds_no_failure(mesh: LocalMesh, document: Any, tmp_path: Path) -> None:
    # An account of its own, for the run revokes whatever keys it finds.
    account = FundedAccount(mesh)
    options = [option for scope in ENDPOINTS for option in ("--endpoint", scope)]
    key = account.new_key(*options)["api_key"]
    done = subprocess.run(
        [
            SCHEMATHESIS, "--config-file", CONFIGURATION, "run", f"{mesh.base_url}/openapi.json",
            "--header", f"Authorization: Bearer {key}", "--phases", "examples,coverage,fuzzing",
            "--max-examples", "15", "--generation-deterministic", "--continue-on-failure", "--no-color",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=stretched(110), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert f"Tested: {sum(map(len, document['paths'].values()))}" in done.stdout
