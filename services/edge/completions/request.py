"""The body of POST /v1/completions, as OpenAI defines it. Unknown fields are tolerated, wrong types are not."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from services.common.catalog import Model
from services.common.errors import MeshError
from services.common.limits.chats import MOST_SCORED
from services.edge.chat.call import generate_call
from services.edge.chat.checks import check_options
from services.edge.chat.field_names import renamed
from services.edge.chat.request import (
    Bias,
    ChatBody,
    MinP,
    Penalty,
    RepetitionPenalty,
    Seed,
    Stops,
    StreamOptions,
    Temperature,
    Text,
    TopK,
    TopP,
)
from services.edge.http.parsing import invalid
from services.edge.text_inputs import TextInput, TokenId, split_inputs
from tiermesh.runner.v1 import runner_pb2

# OpenAI's own default for this endpoint, in tokens.
DEFAULT_MAX_TOKENS = 16


class CompletionBody(Struct, frozen=True):
    """The whole body. None and absent mean the same for every optional field."""

    model: str
    # A text or a list of texts; the tokens of one text or a list of such lists.
    prompt: Text | Annotated[list[Text | TokenId | list[TokenId]], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    best_of: Annotated[int, Meta(ge=1)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    # 0 is only for the scores of the prompt.
    max_tokens: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    stop: Stops | None = None
    seed: Seed | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty | None = None
    logit_bias: dict[str, Bias] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None

    @property
    def choices_each(self) -> int:
        """How many choices each prompt gets."""
        return self.n or 1

    @property
    def scores_prompt(self) -> bool:
        """Whether the log probabilities of the prompt's own tokens are asked for."""
        return bool(self.echo) and self.logprobs is not None

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a usage chunk."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


completion_decoder = msgspec.json.Decoder(CompletionBody)


def read_prompts(body: CompletionBody, *, max_choices: int) -> list[TextInput]:
    """Checks what types cannot say and returns the prompts; raises MeshError INVALID_REQUEST with `param`."""
    prompts = split_inputs(body.prompt, "prompt")
    choices = len(prompts) * body.choices_each
    if choices > max_choices:
        if len(prompts) == 1:
            raise invalid("n", f"'n' must be at most {max_choices}; {choices} was sent.")
        message = f"'prompt' times 'n' asks for {choices} choices; at most {max_choices} are made for one request."
        raise invalid("prompt", message)
    if body.best_of not in {None, body.choices_each}:
        raise invalid("best_of", "'best_of' must equal 'n': every choice that is made is returned; leave it out.")
    if body.suffix:
        raise invalid(
            "suffix", "'suffix' is not supported: the models continue a text, they do not fill it in; leave it out."
        )
    if body.scores_prompt:
        _check_scoring(body, prompts)
    elif body.max_tokens == 0:
        raise invalid("max_tokens", "'max_tokens' must be at least 1; 0 is only for 'echo' with 'logprobs'.")
    elif body.echo and any(isinstance(prompt, list) for prompt in prompts):
        raise invalid("echo", "'echo' needs a 'prompt' that is text, not token ids, unless 'logprobs' is set.")
    check_options(_chat_body(body), max_choices=max_choices)
    return prompts


def _check_scoring(body: CompletionBody, prompts: list[TextInput]) -> None:
    if body.stream:
        raise invalid("stream", "'stream' cannot be used with 'echo' and 'logprobs'; leave it out.")
    most = max(len(prompt) if isinstance(prompt, list) else 0 for prompt in prompts)
    if most > MOST_SCORED:
        bound = f"with 'echo' and 'logprobs' it may have at most {MOST_SCORED:,}"
        raise invalid("prompt", f"'prompt' has {most:,} tokens; {bound}: send a part of it.")


def translated(error: MeshError) -> MeshError:
    """Returns an error about a chat as one about a completion, which has a prompt in place of messages."""
    return renamed(error, lambda name: "prompt" if name == "messages" else name)


def completion_calls(
    body: CompletionBody, prompts: list[TextInput], model: Model, request_id: str
) -> list[runner_pb2.GenerateCall]:
    """Returns the call of each choice: those of the first prompt, which share one, then those of the next."""
    chat = _chat_body(body)
    calls = []
    for prompt in prompts:
        call = generate_call(chat, model, request_id)
        if isinstance(prompt, str):
            call.completion.prompt = prompt
        else:
            call.completion.token_ids.extend(prompt)
        call.completion.score_prompt = body.scores_prompt
        call.completion.only_score = body.max_tokens == 0
        calls += [call] * body.choices_each
    return calls


def _chat_body(body: CompletionBody) -> ChatBody:
    """Returns what this request has in common with one for a chat."""
    return ChatBody(
        model=body.model,
        messages=[],
        stream=body.stream,
        stream_options=body.stream_options,
        temperature=body.temperature,
        top_p=body.top_p,
        max_tokens=DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens,
        stop=body.stop,
        seed=body.seed,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        top_k=body.top_k,
        min_p=body.min_p,
        repetition_penalty=body.repetition_penalty,
        logit_bias=body.logit_bias,
        logprobs=body.logprobs is not None,
        top_logprobs=body.logprobs,
    )
