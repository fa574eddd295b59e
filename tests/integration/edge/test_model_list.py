"""The list of models over HTTP: in both shapes, limited to what is asked for, and to what the key may use."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import openai
import pytest

from services.common.catalog import load_catalog
from services.common.settings import DEFAULT_CATALOG
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh

MODELS = load_catalog(DEFAULT_CATALOG).models
# The mesh of these tests has a runner for one tier.
SERVED = [model.id for model in MODELS if model.tier == "pro"]
CHATS = [model.id for model in MODELS if model.kind == "chat"]
ANTHROPIC = {"anthropic-version": "2023-06-01"}


@pytest.fixture
def http(mesh: LocalMesh) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}"}
    with httpx2.Client(base_url=mesh.base_url, headers=headers, timeout=stretched(30)) as client:
        yield client


def listed(http: httpx2.Client, query: str = "", **headers: str) -> list[str]:
    body = http.get(f"/models{query}", headers=headers).raise_for_status().json()
    return [model["id"] for model in body["data"]]


def test_a_list_can_be_limited(http: httpx2.Client) -> None:
    assert listed(http) == [model.id for model in MODELS]
    assert listed(http, "?available=true") == SERVED
    assert listed(http, "?available=false&kind=embedding") == ["tiermesh-embed"]


@pytest.mark.parametrize(
    ("query", "param"), [("?available=maybe", "available"), ("?kind=poem", "kind"), ("?limit=0", "limit")]
)
def test_what_cannot_be_asked_for_is_refused(http: httpx2.Client, query: str, param: str) -> None:
    response = http.get(f"/models{query}", headers=ANTHROPIC)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_anthropics_clients_get_their_shape(http: httpx2.Client) -> None:
    body = http.get("/models", headers=ANTHROPIC).raise_for_status().json()
    assert [model["id"] for model in body["data"]] == CHATS
    assert (body["has_more"], body["first_id"], body["last_id"]) == (False, CHATS[0], CHATS[-1])
    assert {model["type"] for model in body["data"]} == {"model"}
    assert [model["id"] for model in body["data"] if model["available"]] == SERVED
    page = http.get("/models?limit=1&after_id=tiermesh-pro", headers=ANTHROPIC).json()
    assert ([model["id"] for model in page["data"]], page["has_more"]) == ([CHATS[1]], True)
    one = http.get("/models/tiermesh-pro", headers=ANTHROPIC).raise_for_status().json()
    assert one == body["data"][0]


def test_a_picker_sees_what_its_key_may_use(mesh: LocalMesh) -> None:
    key = mesh.command_now("key", "create", "--model", "tiermesh-pro", "--model", "tiermesh-lite")["api_key"]
    with openai.OpenAI(base_url=mesh.base_url, api_key=key, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["tiermesh-pro", "tiermesh-lite"]


def test_the_sdk_reads_the_list(mesh: LocalMesh) -> None:
    with openai.OpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0) as client:
        for model in client.models.list():
            assert client.models.retrieve(model.id) == model
            assert (model.object, model.owned_by) == ("model", "tiermesh")
            assert model.created > 1_700_000_000


def test_what_needs_no_key_is_served_without_one(mesh: LocalMesh) -> None:
    root = mesh.base_url.removesuffix("/v1")
    for path in ("/", "/health", "/v1", "/v1/audio/models", "/v1/audio/voices"):
        assert httpx2.get(root + path).status_code == 200
    voices = httpx2.get(root + "/v1/audio/voices").json()["voices"]
    assert {"id": "alloy", "name": "alloy"} in voices
