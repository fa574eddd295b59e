"""The official SDK against a real mesh with a real model."""

from __future__ import annotations

import json
from typing import Any

import openai
from openai.types.chat import ChatCompletionMessageParam

from tests.support.mesh import LocalMesh

CAPITAL: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]
MODEL = "tiermesh-pro"


def streamed(client: openai.OpenAI, **parameters: Any) -> str:
    stream = client.chat.completions.create(model=MODEL, messages=CAPITAL, stream=True, **parameters)
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def test_the_capital_of_france_is_paris(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0, max_tokens=24)
    assert "Paris" in (completion.choices[0].message.content or "")
    assert completion.choices[0].finish_reason in {"stop", "length"}
    assert completion.model == MODEL


def test_a_stream_adds_up_to_the_whole_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0, max_tokens=24)
    assert streamed(client, temperature=0, max_tokens=24) == whole.choices[0].message.content


async def test_the_async_client_works_too(real_mesh: LocalMesh) -> None:
    async with openai.AsyncOpenAI(
        base_url=real_mesh.base_url, api_key=real_mesh.unlimited_key, max_retries=0
    ) as client:
        whole = await client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0, max_tokens=16)
        stream = await client.chat.completions.create(
            model=MODEL, messages=CAPITAL, temperature=0, max_tokens=16, stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == whole.choices[0].message.content


def test_usage_is_exact_and_the_same_for_streams(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0, max_tokens=7, stop=["#"])
    assert whole.usage is not None
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=CAPITAL, temperature=0, max_tokens=7, stop=["#"],
            stream=True, stream_options={"include_usage": True},
        )
    )  # fmt: skip
    last = chunks[-1]
    assert last.choices == []
    assert last.usage is not None
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert whole.usage.completion_tokens == last.usage.completion_tokens == 7
    assert whole.usage.prompt_tokens == last.usage.prompt_tokens > 10
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + 7
    assert whole.choices[0].finish_reason == "length"


def test_max_completion_tokens_limits_the_answer(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model=MODEL, messages=CAPITAL, max_completion_tokens=3)
    assert completion.usage is not None
    assert completion.usage.completion_tokens <= 3


def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(client: openai.OpenAI) -> None:
    text = streamed(client, temperature=0, max_tokens=24, stop=["Paris"])
    assert "capital" in text
    assert "Paris" not in text


def test_a_seed_repeats_and_another_differs(client: openai.OpenAI) -> None:
    def answer(seed: int) -> str | None:
        completion = client.chat.completions.create(
            model=MODEL, messages=CAPITAL, temperature=1.5, seed=seed, max_tokens=16
        )
        return completion.choices[0].message.content

    first = answer(1)
    assert answer(1) == first
    assert any(answer(seed) != first for seed in range(2, 6))


def test_n_makes_several_choices_of_one_prompt(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model=MODEL, messages=CAPITAL, n=3, temperature=1.5, seed=5, max_tokens=8
    )
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in completion.choices}) > 1
    assert completion.usage is not None
    assert completion.usage.completion_tokens > 8


def test_n_choices_stream_side_by_side(client: openai.OpenAI) -> None:
    texts = {0: "", 1: ""}
    ends: dict[int, str] = {}
    for chunk in client.chat.completions.create(
        model=MODEL, messages=CAPITAL, n=2, temperature=0, max_tokens=8, stream=True
    ):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
    assert texts[0] == texts[1] != ""
    assert set(ends) == {0, 1}


def test_logprobs_cover_every_token(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model=MODEL, messages=CAPITAL, temperature=0, max_tokens=6, logprobs=True, top_logprobs=3
    )
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 6
    assert "".join(token.token for token in logprobs.content) == completion.choices[0].message.content
    for token in logprobs.content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        # Greedy decoding picks the most likely token.
        assert token.top_logprobs[0].token == token.token


def test_a_logit_bias_forbids_a_token(client: openai.OpenAI) -> None:
    def first_token(bias: dict[str, int]) -> str:
        completion = client.chat.completions.create(
            model=MODEL, messages=CAPITAL, temperature=0, max_tokens=1, logprobs=True, logit_bias=bias
        )
        return completion.choices[0].message.content or ""

    free = first_token({})
    # Forbidding a wide range of ids is bound to include what was said freely or change nothing at all.
    assert free
    forced = first_token({"9533": 100})
    assert forced != free


def test_penalties_are_accepted_and_change_a_repetitive_answer(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Say yes yes yes yes yes yes."},
    ]

    def answer(penalty: float) -> str | None:
        completion = client.chat.completions.create(
            model=MODEL, messages=messages, temperature=0, max_tokens=32, frequency_penalty=penalty,
            presence_penalty=penalty,
        )  # fmt: skip
        return completion.choices[0].message.content

    assert answer(2.0) != answer(0.0)


def test_what_clients_of_open_models_send_is_served(client: openai.OpenAI) -> None:
    def answer(temperature: float, **more: float) -> str | None:
        completion = client.chat.completions.create(
            model=MODEL, messages=CAPITAL, temperature=temperature, max_tokens=12, extra_body=more
        )
        return completion.choices[0].message.content

    greedy = answer(0)
    assert answer(2, top_k=1) == greedy
    assert answer(2, min_p=1) == greedy
    assert answer(0, repetition_penalty=2) != greedy


def test_content_parts_and_the_developer_role_are_understood(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "You are a helpful assistant."},
            {"role": "user", "content": [{"type": "text", "text": "What is the capital"},
                                         {"type": "text", "text": " of France?"}]},
        ],
        temperature=0,
        max_tokens=24,
        metadata={"any": "thing"},
        store=True,
        user="someone",
    )  # fmt: skip
    assert "Paris" in (completion.choices[0].message.content or "")


def test_a_json_schema_shapes_the_answer(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "big": {"type": "boolean"}},
        "required": ["city", "big"],
        "additionalProperties": False,
    }
    completion = client.chat.completions.create(
        model=MODEL, messages=CAPITAL, max_tokens=100, temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
    )  # fmt: skip
    answer = json.loads(completion.choices[0].message.content or "")
    assert set(answer) == {"city", "big"}
