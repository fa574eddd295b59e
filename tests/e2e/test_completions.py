"""POST /v1/completions with the official SDK against a real model."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest
from openai.types import Completion, CompletionChoice

from tests.support import openai_schemas
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh

MODEL = "tiermesh-pro"
FRANCE = "The capital of France is"
PROMPT: dict[str, Any] = {"model": MODEL, "prompt": FRANCE, "temperature": 0, "max_tokens": 5}


def test_a_text_is_continued_as_it_is(client: openai.OpenAI) -> None:
    completion = client.completions.create(**PROMPT)
    assert completion.choices[0].text.startswith(" Paris")
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 5
    # A chat template would have added some more.
    assert completion.usage.prompt_tokens < 8


def test_a_body_is_valid_to_the_letter_and_costs_one_price(real_mesh: LocalMesh) -> None:
    headers = {"Authorization": f"Bearer {real_mesh.unlimited_key}"}
    body = {**PROMPT, "prompt": [FRANCE, "Two plus two is"], "n": 2, "logprobs": 2}
    answer = httpx2.post(real_mesh.base_url + "/completions", json=body, headers=headers, timeout=stretched(60))
    completion = Completion.model_validate_json(answer.content, strict=True)
    openai_schemas.check("CreateCompletionResponse", answer.json())
    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    assert completion.choices[0].text == completion.choices[1].text != completion.choices[2].text
    assert answer.headers["x-tiermesh-credits-charged"] == "10"
    request = httpx2.get(real_mesh.base_url + "/requests/" + answer.headers["x-request-id"], headers=headers).json()
    assert completion.usage is not None
    assert request["usage"]["prompt_tokens"] == completion.usage.prompt_tokens


def test_several_prompts_count_all_their_tokens(client: openai.OpenAI) -> None:
    def prompt_tokens(prompt: str | list[str]) -> int:
        completion: Completion = client.completions.create(**{**PROMPT, "prompt": prompt, "n": 2, "max_tokens": 1})
        assert completion.usage is not None
        return completion.usage.prompt_tokens

    both = prompt_tokens([FRANCE, "Two plus two is"])
    assert both == prompt_tokens(FRANCE) + prompt_tokens("Two plus two is")


@pytest.mark.parametrize("echo", [False, True])
def test_a_stream_adds_up_to_the_whole_text(client: openai.OpenAI, echo: bool) -> None:
    whole = client.completions.create(**PROMPT, echo=echo)
    chunks = list(client.completions.create(**PROMPT, echo=echo, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole.choices[0].text
    assert whole.choices[0].text.startswith(FRANCE) is echo
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_a_prompt_of_tokens_is_taken_as_it_is(client: openai.OpenAI) -> None:
    # Token 28 is "," in the local model's vocabulary, so three of them are three tokens.
    completion = client.completions.create(**{**PROMPT, "prompt": [28, 28, 28]})
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 3
    several = client.completions.create(**{**PROMPT, "prompt": [[28, 28, 28], [28]]})
    assert several.choices[0].text == completion.choices[0].text
    assert several.usage is not None
    assert several.usage.prompt_tokens == 4


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ([4_000_000_000], "invalid_request"),
        ([28] * 9000, "context_length_exceeded"),
        ("word " * 9000, "context_length_exceeded"),
    ],
)
def test_unknown_or_too_many_tokens_are_400(client: openai.OpenAI, prompt: Any, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**{**PROMPT, "prompt": prompt})
    assert (caught.value.code, caught.value.param) == (code, "prompt")


def test_logprobs_have_their_old_form(client: openai.OpenAI) -> None:
    choice = client.completions.create(**PROMPT, logprobs=3).choices[0]
    assert choice.logprobs is not None
    tokens, offsets = choice.logprobs.tokens or [], choice.logprobs.text_offset or []
    assert "".join(tokens) == choice.text
    assert [choice.text[at:].startswith(token) for token, at in zip(tokens, offsets, strict=True)] == [True] * 5
    for token, top in zip(tokens, choice.logprobs.top_logprobs or [], strict=True):
        assert max(top, key=lambda other: top[other]) == token
        assert len(top) == 3


def _scored(client: openai.OpenAI, prompt: str | list[int], **fields: Any) -> CompletionChoice:
    asked = {"echo": True, "logprobs": 1, "max_tokens": 0, "temperature": 0, "seed": 1} | fields
    return client.completions.create(model=MODEL, prompt=prompt, **asked).choices[0]


def test_a_text_is_scored_as_evaluations_do(client: openai.OpenAI) -> None:
    def score(text: str) -> float:
        choice = _scored(client, text)
        assert (choice.text, choice.finish_reason) == (text, "length")
        assert choice.logprobs is not None
        # The type of OpenAI's library does not say that the first token has none.
        values: list[Any] = [*(choice.logprobs.token_logprobs or [])]
        first, *others = values
        assert first is None
        assert "".join(choice.logprobs.tokens or []) == text
        return float(sum(others))

    assert score(FRANCE + " Paris") > score(FRANCE + " banana") + 5


def test_tokens_are_scored_as_their_text_and_then_continued(client: openai.OpenAI) -> None:
    # These are the tokens of the text in the local model's vocabulary.
    token_ids = [504, 3575, 282, 4649, 314, 7042]
    of_text, of_tokens = (_scored(client, prompt, max_tokens=1) for prompt in (FRANCE + " Paris", token_ids))
    assert of_tokens.text == of_text.text
    assert of_tokens.text.startswith(FRANCE + " Paris")
    assert of_tokens.logprobs is not None
    assert of_text.logprobs is not None
    assert of_tokens.logprobs.tokens == of_text.logprobs.tokens
    assert len(of_tokens.logprobs.tokens or []) == len(token_ids) + 1
    scores = (of_tokens.logprobs.token_logprobs or [])[1:]
    assert scores == pytest.approx((of_text.logprobs.token_logprobs or [])[1:], abs=1e-2)


def test_scores_are_charged_and_counted(real_mesh: LocalMesh) -> None:
    headers = {"Authorization": f"Bearer {real_mesh.unlimited_key}"}
    body = {"model": MODEL, "prompt": FRANCE, "echo": True, "logprobs": 0, "max_tokens": 0}
    answer = httpx2.post(real_mesh.base_url + "/completions", json=body, headers=headers, timeout=stretched(60))
    assert answer.headers["x-tiermesh-credits-charged"] == "10"
    usage = answer.json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (5, 0)


def test_a_stop_string_and_a_seed_work_as_for_chats(client: openai.OpenAI) -> None:
    assert "." not in client.completions.create(**PROMPT, stop=".").choices[0].text
    sampled = {**PROMPT, "temperature": 1.5, "seed": 3, "max_tokens": 8}
    assert client.completions.create(**sampled).choices[0].text == client.completions.create(**sampled).choices[0].text


def test_what_cannot_be_done_is_400(client: openai.OpenAI) -> None:
    for changes in ({"suffix": "end"}, {"best_of": 3}, {"n": 99}):
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(**PROMPT, **changes)
        assert caught.value.param == next(iter(changes))
