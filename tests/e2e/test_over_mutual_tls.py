"""The public surface once more, over a mesh with mutual TLS; `make test-tls` runs all of this folder so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.support.mesh import LocalMesh

QUESTION: Any = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}


@pytest.fixture(scope="module")
def tls_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("tls"), "--tls") as mesh:
        yield mesh


@pytest.fixture
def tls_client(tls_mesh: LocalMesh) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=tls_mesh.base_url, api_key=tls_mesh.unlimited_key, max_retries=0) as client:
        yield client


def test_every_service_has_tls_on(tls_mesh: LocalMesh) -> None:
    for service in ("auth", "billing", "router", "runner-pro"):
        assert '"tls": true' in (tls_mesh.state_dir / "logs" / f"{service}.log").read_text()
    assert all(finding["verdict"] != "failed" for finding in tls_mesh.command_now("doctor")["findings"])


def test_a_whole_answer_is_charged(tls_mesh: LocalMesh, tls_client: openai.OpenAI) -> None:
    before = tls_mesh.command_now("balance")["available"]
    completion = tls_client.chat.completions.create(**QUESTION)
    assert completion.choices[0].message.content
    assert tls_mesh.command_now("balance")["available"] == before - 10
    assert tls_mesh.command_now("ledger", "audit")["violations"] == []


def test_an_answer_is_streamed(tls_client: openai.OpenAI) -> None:
    chunks = list(tls_client.chat.completions.create(**QUESTION, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"


def test_models_balance_and_usage_go_over_unary_calls(tls_client: openai.OpenAI) -> None:
    assert "tiermesh-pro" in {model.id for model in tls_client.models.list()}
    assert tls_client.get("/balance", cast_to=dict[str, Any])["credits"] > 0
    assert tls_client.get("/usage", cast_to=dict[str, Any])


def test_a_wrong_key_is_refused(tls_mesh: LocalMesh) -> None:
    with (
        openai.OpenAI(base_url=tls_mesh.base_url, api_key="sk-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(**QUESTION)
