"""Every refusal reaches the SDK as its own exception class with a message that says what to do, and costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.support.mesh import LocalMesh

HELLO: Any = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}


@pytest.fixture(autouse=True)
def nothing_is_charged(real_mesh: LocalMesh) -> Iterator[None]:
    before = real_mesh.command_now("balance", real_mesh.account_id)
    yield
    assert real_mesh.command_now("balance", real_mesh.account_id) == before


def ask(mesh: LocalMesh, key: str, **changes: Any) -> None:
    with openai.OpenAI(base_url=mesh.base_url, api_key=key, max_retries=0) as client:
        client.chat.completions.create(**(HELLO | changes))


@pytest.mark.parametrize("key", ["sk-tiermesh-wrong", "nonsense", "sk-tiermesh-" + "A" * 43])
def test_a_wrong_key_is_401(real_mesh: LocalMesh, key: str) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(real_mesh, key)
    assert caught.value.code == "invalid_api_key"
    assert key not in str(caught.value)


def test_no_key_is_401(real_mesh: LocalMesh) -> None:
    response = httpx2.post(real_mesh.base_url + "/chat/completions", json=HELLO)
    assert response.status_code == 401
    assert "Authorization: Bearer" in response.json()["error"]["message"]


def test_a_revoked_key_is_401(real_mesh: LocalMesh) -> None:
    key = real_mesh.command_now("key", "create", real_mesh.account_id)
    real_mesh.command_now("key", "revoke", key["id"])
    with pytest.raises(openai.AuthenticationError, match="revoked"):
        ask(real_mesh, key["api_key"])


def test_no_credits_is_402(real_mesh: LocalMesh) -> None:
    account = real_mesh.command_now("account", "create", "poor")
    real_mesh.command_now("credits", "grant", account["id"], "9")
    key = real_mesh.command_now("key", "create", account["id"])["api_key"]
    with pytest.raises(openai.APIStatusError) as caught:
        ask(real_mesh, key)
    assert caught.value.status_code == 402
    assert caught.value.code == "insufficient_credits"
    # aider repeats a 402 of another type for a minute; the SDKs of OpenAI and Anthropic read the header.
    assert caught.value.type == "invalid_request_error"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert real_mesh.command_now("balance", account["id"])["available"] == 9


def test_clients_do_not_repeat_what_no_credits_can_pay(real_mesh: LocalMesh) -> None:
    account = real_mesh.command_now("account", "create", "penniless")
    key = real_mesh.command_now("key", "create", account["id"])["api_key"]
    sent: list[str] = []
    counting = openai.DefaultHttpxClient(event_hooks={"request": [lambda request: sent.append(request.url.path)]})
    with openai.OpenAI(base_url=real_mesh.base_url, api_key=key, max_retries=3, http_client=counting) as client:
        with pytest.raises(openai.APIStatusError, match="Insufficient credits: a request to tiermesh-pro costs 10"):
            client.chat.completions.create(**HELLO)
        langchain = ChatOpenAI(
            model="tiermesh-pro",
            base_url=real_mesh.base_url,
            api_key=SecretStr(key),
            max_retries=3,
            http_client=counting,
        )
        with pytest.raises(openai.APIStatusError, match="Insufficient credits"):
            langchain.invoke("Hi")
    assert len(sent) == 2


def test_an_unknown_model_is_404(real_mesh: LocalMesh, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="tiermesh-pro") as caught:
        ask(real_mesh, real_mesh.unlimited_key, model="gpt-9")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


def test_the_61st_request_in_a_minute_is_429(real_mesh: LocalMesh) -> None:
    key = real_mesh.command_now("key", "create", real_mesh.account_id)["api_key"]
    with openai.OpenAI(base_url=real_mesh.base_url, api_key=key, max_retries=0) as client:
        for _ in range(60):
            client.models.list()
        with pytest.raises(openai.RateLimitError) as caught:
            client.models.list()
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert "60" in str(caught.value)


def test_a_tier_without_a_runner_is_503(client: openai.OpenAI) -> None:
    # Without torch, which the tests have in an environment of its own, no runner of a local mesh paints.
    with pytest.raises(openai.InternalServerError) as caught:
        client.images.generate(model="tiermesh-image", prompt="a fox")
    assert caught.value.status_code == 503
    assert "tier 'image'" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"temperature": "hot"}, "temperature"), ({"messages": "hi"}, "messages"), ({"max_tokens": -1}, "max_tokens")],
)
def test_a_wrong_type_is_400_with_its_param(real_mesh: LocalMesh, changes: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(real_mesh, real_mesh.unlimited_key, **changes)
    assert caught.value.param == param


def test_a_prompt_beyond_the_context_is_400(real_mesh: LocalMesh) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(real_mesh, real_mesh.unlimited_key, messages=[{"role": "user", "content": "word " * 9000}])
    assert caught.value.code == "context_length_exceeded"


def post(mesh: LocalMesh, content: bytes) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {mesh.unlimited_key}"}
    return httpx2.post(mesh.base_url + "/chat/completions", content=content, headers=headers)


def test_malformed_json_is_400(real_mesh: LocalMesh) -> None:
    response = post(real_mesh, b'{"model": "tiermesh-pro", ')
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_too_large_a_body_is_413(real_mesh: LocalMesh) -> None:
    response = post(real_mesh, b'{"x": "' + b"a" * (28 * 1024 * 1024) + b'"}')
    assert response.status_code == 413
    assert "bytes" in response.json()["error"]["message"]


def test_unknown_urls_and_wrong_methods_have_the_same_shape(real_mesh: LocalMesh) -> None:
    assert httpx2.get(real_mesh.base_url + "/nothing").json()["error"]["code"] == "unknown_url"
    response = httpx2.get(real_mesh.base_url + "/chat/completions")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
