"""Sampling with OpenAI's meaning, by ExLlamaV2's sampler."""

from __future__ import annotations

from typing import Any

from services.runner.kinds.text.job import Sampling

# Below this the library picks the most likely token, and a division by the temperature would overflow.
_COLD = 0.01


def sampler_settings(sampling: Sampling) -> Any:
    """Returns ExLlamaV2Sampler.Settings: temperature, then top_k, top_p and min_p, and nothing else.

    The library's defaults are 0.8, top_k 50, top_p 0.8 and a repetition penalty of 1.025: all are overridden. Its own
    penalties count the prompt's tokens too, and would change the log probabilities, so `LogitFilter` applies all
    penalties, and the biases.
    """
    from exllamav2.generator import ExLlamaV2Sampler

    # To the library a top_p of 0 and a min_p of 1 mean none at all; here they mean the most likely token alone.
    greedy = sampling.temperature < _COLD or sampling.top_p <= 0 or sampling.top_k == 1 or sampling.min_p >= 1
    return ExLlamaV2Sampler.Settings(
        temperature=1.0 if greedy else sampling.temperature,
        top_k=1 if greedy else sampling.top_k,
        top_p=0.0 if greedy else sampling.top_p,
        min_p=0.0 if greedy else sampling.min_p,
        token_repetition_penalty=1.0,
        token_frequency_penalty=0.0,
        token_presence_penalty=0.0,
    )
