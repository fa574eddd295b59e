"""Job → the JSON body of llama.cpp's completion endpoint, with every default of llama.cpp turned off.

The fields are those of https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md#post-completion.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from services.runner.engines.llamacpp.media import MEDIA_MARKER, decodable
from services.runner.engines.llamacpp.vocabulary import Vocabulary
from services.runner.kinds.text.job import Job
from services.runner.kinds.text.prompt.grammar import grammar_error
from services.runner.refusals import not_compiled, unknown_tokens

# llama.cpp's seeds are 32 bits wide, and the largest asks for a random one.
_SEEDS = 2**32 - 1
_START = re.compile(r"^start:", re.MULTILINE)


def media_body(fields: dict[str, Any], images: Sequence[bytes]) -> bytes:
    """Returns the request for `Listener`, with the images in place; takes a while, for they are checked and encoded.

    Raises MeshError INVALID_REQUEST for an image that cannot be decoded.
    """
    prompt = fields["prompt"]
    if images:
        data = [base64.b64encode(decodable(image)).decode() for image in images]
        prompt = {"prompt_string": prompt, "multimodal_data": data}
    return msgspec.json.encode({**fields, "prompt": prompt, "return_tokens": True})


def completion_fields(
    job: Job, vocabulary: Vocabulary, context: int, around_images: tuple[str, str] = ("", "")
) -> dict[str, Any]:
    """Returns the fields of the request, with markers in place of images, and `around_images` before and after each.

    Raises MeshError INVALID_REQUEST for a bad grammar, which llama.cpp would ignore.
    """
    if job.grammar and (reason := grammar_error(job.grammar)):
        raise not_compiled("response_format", reason)
    if any(token_id >= len(vocabulary.pieces) for token_id in job.resume_token_ids):
        raise unknown_tokens("resume_token_ids")
    # Special tokens in a string are always parsed as such. The beginning token is added by llama.cpp, to strings only.
    prompt: Any = list(job.prompt_token_ids) or job.prompt.removeprefix(vocabulary.bos_text)
    if job.images:
        before, after = around_images
        prompt = (before + MEDIA_MARKER + after).join(job.prompt_parts).removeprefix(vocabulary.bos_text)
    budget = -1 if job.max_tokens is None else job.max_tokens
    if job.resume_token_ids and not replays(job):
        if job.images:
            # Tokens and images cannot be mixed. The text may become other tokens than before, but it is the same text.
            prompt += vocabulary.text(job.resume_token_ids)
        else:
            prompt = [*(job.prompt_token_ids or [prompt]), *job.resume_token_ids]
        budget = max(budget - len(job.resume_token_ids), 0) if budget >= 0 else budget
    fields = {
        "prompt": prompt,
        "n_predict": budget,
        "n_probs": 0 if job.logprobs is None else max(job.logprobs, 1),
        "grammar": _ending(job.grammar, vocabulary.eos_token_id),
        "preserved_tokens": vocabulary.shown,
        "stream": True,
        # Tokens and exact counts are only in the verbose part of an event.
        "verbose": True,
        "return_progress": True,
        "cache_prompt": True,
    }
    return fields | _sampling(job, vocabulary, context)


def _ending(grammar: str, eos_token_id: int) -> str:
    """Lets the model end its turn wherever the grammar may end.

    llama.cpp tells llguidance of one end only, the end of a turn that it guesses by name, which may not be the one that
    the model was trained to say: free text would never stop.
    """
    if not grammar or eos_token_id < 0:
        return grammar
    return _START.sub("whole_answer:", grammar, count=1) + f"start: whole_answer <[{eos_token_id}]>?\n"


def replays(job: Job) -> bool:
    """Whether a resumed job begins anew and checks that it says the same again.

    llama.cpp can take produced tokens as a part of the prompt, but it cannot advance a grammar over them.
    """
    return bool(job.grammar and job.resume_token_ids)


def _sampling(job: Job, vocabulary: Vocabulary, context: int) -> dict[str, Any]:
    sampling = job.sampling
    if any(token_id >= len(vocabulary.pieces) for token_id in sampling.logit_bias):
        raise unknown_tokens("logit_bias")
    penalised = bool(sampling.presence_penalty or sampling.frequency_penalty)
    biases = _biases(job, vocabulary) if penalised else sampling.logit_bias
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_last_n": context if penalised else 0,
        "logit_bias": list(biases.items()),
        "samplers": ["penalties", "temperature", "top_p"],
        "repeat_penalty": 1.0,
        "top_k": 0,
        "min_p": 0.0,
    }
    if sampling.seed is not None:
        fields["seed"] = sampling.seed % _SEEDS
    return fields


def _biases(job: Job, vocabulary: Vocabulary) -> dict[int, float]:
    """Takes the penalties off the token that ends a turn.

    llama.cpp counts the prompt's tokens too, and every message of a conversation ends with that one: the more messages,
    the less it would be able to stop.
    """
    sampling, eos = job.sampling, vocabulary.eos_token_id
    count = job.prompt.count(vocabulary.eos_text) if vocabulary.eos_text else 0
    # The text of tokens does not show it.
    count += job.prompt_token_ids.count(eos)
    if not count:
        return sampling.logit_bias
    relief = sampling.presence_penalty + count * sampling.frequency_penalty
    return {**sampling.logit_bias, eos: sampling.logit_bias.get(eos, 0.0) + relief}
