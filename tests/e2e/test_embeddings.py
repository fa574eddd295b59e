"""Embeddings by the official SDK."""

from __future__ import annotations

import math

import openai
import pytest

from tests.support.openai_schemas import check


def similarity(one: list[float], other: list[float]) -> float:
    return sum(map(float.__mul__, one, other))


def test_related_sentences_are_close(client: openai.OpenAI) -> None:
    texts = ["How do I reset my password?", "I forgot my login credentials.", "A cheetah chases its prey."]
    response = client.embeddings.create(model="tiermesh-embed", input=texts)
    first, second, third = (entry.embedding for entry in response.data)
    assert len(first) == 384
    assert math.isclose(math.hypot(*first), 1, abs_tol=1e-6)
    assert similarity(first, second) > 0.5
    assert similarity(first, third) < 0.2
    assert response.model == "tiermesh-embed"
    assert response.usage.prompt_tokens == response.usage.total_tokens > 20


def test_both_encodings_say_the_same(client: openai.OpenAI) -> None:
    # Without a format the SDK asks for base64 and decodes it.
    decoded = client.embeddings.create(model="tiermesh-embed", input="The same text")
    numbers = client.embeddings.create(model="tiermesh-embed", input="The same text", encoding_format="float")
    assert decoded.data[0].embedding == pytest.approx(numbers.data[0].embedding, abs=1e-7)
    assert decoded.usage == numbers.usage


def test_the_body_is_what_openai_publishes(client: openai.OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(model="tiermesh-embed", input=["a", "b"], encoding_format="float")
    check("CreateEmbeddingResponse", raw.http_response.json())


def test_tokens_are_embedded(client: openai.OpenAI) -> None:
    response = client.embeddings.create(model="tiermesh-embed", input=[[101, 7592, 2088, 102], [101, 102]])
    assert [entry.index for entry in response.data] == [0, 1]
    assert response.usage.prompt_tokens == 6


def test_a_long_text_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        client.embeddings.create(model="tiermesh-embed", input="word " * 600)
    assert refusal.value.code == "context_length_exceeded"
    assert "maximum context length is 512 tokens" in refusal.value.message


def test_dimensions_that_the_model_does_not_have_are_refused(client: openai.OpenAI) -> None:
    assert client.embeddings.create(model="tiermesh-embed", input="a", dimensions=384).data
    with pytest.raises(openai.BadRequestError, match=r"cannot have 128 'dimensions'\. Use one of: 384") as refusal:
        client.embeddings.create(model="tiermesh-embed", input="a", dimensions=128)
    assert refusal.value.param == "dimensions"
