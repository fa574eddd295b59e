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
from services.runner.kinds.text.prompt.grammar import grammar_error, shaped_by
from services.runner.refusals import not_compiled, unknown_tokens

# llama.cpp's seeds are 32 bits wide, and the largest asks for a random one.
_SEEDS = 2**32 - 1
# A space without width. It divides what spells a control token in prompts with images, which llama.cpp takes whole.
_BREAK = "\u200b"
_START = re.compile(r"^start:", re.MULTILINE)


def media_body(fields: dict[str, Any], images: Sequence[bytes]) -> bytes:
    """Returns the request for `Listener`, with the images in place; takes a while, for they are checked and encoded.

    Raises MeshError INVALID_REQUEST for an image that cannot be decoded.
    """
    prompt = fields["prompt"]
    if images:
        prompt = {"prompt_string": prompt, "multimodal_data": image_data(images)}
    return msgspec.json.encode({**fields, "prompt": prompt, "return_tokens": True})


def completion_fields(
    job: Job, vocabulary: Vocabulary, context: int, around_images: tuple[str, str] = ("", "")
) -> dict[str, Any]:
    """Returns the fields of the request, with markers in place of images, and `around_images` before and after each.

    Raises MeshError INVALID_REQUEST for a bad grammar, which llama.cpp would ignore.
    """
    if job.grammar and (reason := grammar_error(job.grammar)):
        raise not_compiled(shaped_by(job.grammar), reason)
    if any(token_id >= len(vocabulary.pieces) for token_id in job.resume_token_ids):
        raise unknown_tokens("resume_token_ids")
    prompt = written_prompt(job, vocabulary, around_images)
    # llama.cpp rounds the context of a slot up, and would go on beyond what the model was sold with.
    budget = context if job.max_tokens is None else min(job.max_tokens, context)
    if job.resume_token_ids and not replays(job):
        if job.images:
            # Tokens and images cannot be mixed. The text may become other tokens than before, but it is the same text.
            prompt += vocabulary.text(job.resume_token_ids)
        else:
            prompt = [*(prompt if isinstance(prompt, list) else [prompt]), *job.resume_token_ids]
        budget = max(budget - len(job.resume_token_ids), 0)
    fields = {
        "prompt": prompt,
        "n_predict": budget,
        "n_probs": 0 if job.logprobs is None else max(job.logprobs, 1),
        "grammar": _ending(vocabulary.grammar_texts.unforced(job.grammar), vocabulary.eos_token_id),
        "preserved_tokens": vocabulary.shown,
        "stream": True,
        # Tokens and exact counts are only in the verbose part of an event.
        "verbose": True,
        "return_progress": True,
    }
    return fields | _sampling(job, vocabulary, context)


def written_prompt(job: Job, vocabulary: Vocabulary, around_images: tuple[str, str] = ("", "")) -> Any:
    """Returns the prompt of a job in the form in which llama.cpp takes it: a text, or texts and tokens in order.

    A prompt with images is a text with markers in their place, and `around_images` before and after each.
    """
    if job.images:
        before, after = around_images
        parts = map(_BREAK.join, job.prompt_pieces)
        return (before + MEDIA_MARKER + after).join(parts).removeprefix(vocabulary.bos_text)
    return list(job.prompt_token_ids) or _text_prompt(job, vocabulary)


def image_data(images: Sequence[bytes]) -> list[str]:
    """Returns images in base64 as llama.cpp decodes them; takes a while, for they are checked and encoded.

    Raises MeshError INVALID_REQUEST for an image that cannot be decoded.
    """
    return [base64.b64encode(decodable(image)).decode() for image in images]


def _text_prompt(job: Job, vocabulary: Vocabulary) -> str | list[str | int]:
    """Returns a prompt without images. llama.cpp adds the token of the beginning, if the first thing is a string.

    It always parses control tokens in strings, so a prompt with cuts is several. With no number between them, these
    would be several prompts: the character before each cut becomes its token.
    """
    (parts,) = job.prompt_pieces
    parts[0] = parts[0].removeprefix(vocabulary.bos_text)
    if len(parts) == 1:
        return parts[0]
    prompt: list[str | int] = []
    for part in parts[:-1]:
        token_ids = vocabulary.spelled(part[-1])
        prompt += part[: len(part) - 1 if token_ids else None], *token_ids
    return [*prompt, parts[-1]]


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
    repeating = sampling.repetition_penalty != 1.0
    # A `top_k` of all tokens would sort them, and a seed would choose others.
    top_k = sampling.top_k if sampling.top_k < len(vocabulary.pieces) else 0
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_last_n": context if penalised or repeating else 0,
        "logit_bias": list(biases.items()),
        "samplers": ["penalties", "temperature", *(["top_k"] if top_k else []), "top_p"],
        "repeat_penalty": sampling.repetition_penalty,
        "top_k": top_k,
        "min_p": sampling.min_p,
    }
    if sampling.min_p:
        fields["samplers"].append("min_p")
    if sampling.seed is not None:
        fields["seed"] = sampling.seed % _SEEDS
    return fields


def _biases(job: Job, vocabulary: Vocabulary) -> dict[int, float]:
    """Takes the penalties off the token that ends a turn.

    llama.cpp counts the prompt's tokens too, and every message of a conversation ends with that one: the more messages,
    the less it would be able to stop.
    """
    sampling, eos = job.sampling, vocabulary.eos_token_id
    eos_text = vocabulary.eos_text
    count = sum(piece.count(eos_text) for part in job.prompt_pieces for piece in part) if eos_text else 0
    # The text of tokens does not show it.
    count += job.prompt_token_ids.count(eos)
    if not count:
        return sampling.logit_bias
    relief = sampling.presence_penalty + count * sampling.frequency_penalty
    return {**sampling.logit_bias, eos: sampling.logit_bias.get(eos, 0.0) + relief}
