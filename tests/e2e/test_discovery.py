"""Models and balance, under both prefixes, by SDK and by plain HTTP."""

from __future__ import annotations

import httpx2
import openai

from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh


def test_models_show_price_and_live_availability(real_mesh: LocalMesh, client: openai.OpenAI) -> None:
    models = {model.id: model.model_dump() for model in client.models.list()}
    assert models["tiermesh-pro"]["pricing"] == {"unit": "request", "credits": 10, "usd": "0.10"}
    assert models["tiermesh-image"]["pricing"] == {"unit": "image", "credits": 4, "usd": "0.04"}
    kinds = {model["id"].removeprefix("tiermesh-"): model["kind"] for model in models.values()}
    assert kinds == {"pro": "chat", "lite": "chat", "max": "chat", "max-think": "chat", "embed": "embedding",
                     "speech": "speech", "transcribe": "transcription", "image": "image"}  # fmt: skip
    # What runs on a machine without a GPU: no runner of this environment paints.
    served = {runner["tier"] for runner in real_mesh.command_now("runners")}
    assert {"pro", "max", "embedding", "speech", "transcription"} <= served
    assert {model["id"] for model in models.values() if model["available"]} == {
        model["id"] for model in models.values() if model["tier"] in served
    }
    assert models["tiermesh-image"]["available"] is False


def test_one_model_is_found_by_its_id(client: openai.OpenAI) -> None:
    assert client.models.retrieve("tiermesh-pro").model_dump()["available"] is True


def test_the_other_prefix_serves_the_same(real_mesh: LocalMesh) -> None:
    other = real_mesh.base_url.removesuffix("/v1") + "/api/v1"
    with openai.OpenAI(base_url=other, api_key=real_mesh.unlimited_key, max_retries=0) as client:
        assert "tiermesh-pro" in {model.id for model in client.models.list()}
        completion = client.chat.completions.create(
            model="tiermesh-pro", messages=[{"role": "user", "content": "Hi"}], max_tokens=2
        )
        assert completion.choices


def test_responses_carry_ids_limits_and_charges(real_mesh: LocalMesh) -> None:
    headers = {"Authorization": f"Bearer {real_mesh.unlimited_key}"}
    body = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    with httpx2.Client(base_url=real_mesh.base_url, headers=headers, timeout=stretched(60)) as http:
        before = http.get("/balance").json()["credits"]
        response = http.post("/chat/completions", json=body)
    assert response.headers["x-request-id"].startswith("req_")
    assert response.headers["x-tiermesh-credits-charged"] == "10"
    assert response.headers["x-tiermesh-credits-remaining"] == str(before - 10)


def test_a_limited_key_sees_its_limit(real_mesh: LocalMesh) -> None:
    key = real_mesh.command_now("key", "create", "--rpm", "7")["api_key"]
    response = httpx2.get(real_mesh.base_url + "/models", headers={"Authorization": f"Bearer {key}"})
    assert response.headers["x-ratelimit-limit-requests"] == "7"
    assert response.headers["x-ratelimit-remaining-requests"] == "6"
    assert response.headers["x-ratelimit-reset-requests"].endswith("s")
