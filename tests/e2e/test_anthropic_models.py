"""The list of models by Anthropic's SDK, unchanged: with its key, its pages and its types."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import anthropic
import pytest
from anthropic.types import ModelInfo

from tests.support.mesh import LocalMesh

CHATS = ["tiermesh-pro", "tiermesh-lite", "tiermesh-max", "tiermesh-max-think"]


@pytest.fixture
def client(real_mesh: LocalMesh) -> Iterator[anthropic.Anthropic]:
    base_url = real_mesh.base_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=base_url, api_key=real_mesh.unlimited_key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("limit", [1, 3, 20])
def test_all_pages_are_the_models_that_chat(client: anthropic.Anthropic, limit: int) -> None:
    assert [model.id for model in client.models.list(limit=limit)] == CHATS


def test_pages_go_backward_too(client: anthropic.Anthropic) -> None:
    page = client.models.list(limit=2, before_id=CHATS[-1])
    assert ([model.id for model in page.data], page.has_more) == (CHATS[1:3], True)


def test_a_model_is_what_the_sdk_says_it_is(client: anthropic.Anthropic) -> None:
    model = client.models.retrieve("tiermesh-pro")
    # The SDK itself does not validate what it reads.
    ModelInfo.model_validate(model.to_dict())
    assert model.created_at == datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
    assert (model.type, model.display_name, model.max_input_tokens) == ("model", "tiermesh-pro", 8192)
    assert model.model_extra == {"available": True}
    with pytest.raises(anthropic.NotFoundError, match="tiermesh-pro"):
        client.models.retrieve("claude-9")
