"""How likely the simulated engine finds a text: as likely as it would have said it."""

from __future__ import annotations

from collections.abc import Sequence

from services.runner.engines.simulated.run import alternatives, logprob_of
from services.runner.engines.simulated.spelling import text_of
from services.runner.engines.simulated.voice import TEXTS, Voice
from services.runner.kinds.text.job import TokenLogprob

_WORDS = len(TEXTS)


def scores(token_ids: Sequence[int], top: int) -> list[TokenLogprob]:
    """Returns the log probability of each token of a text in answer to the first, which has none itself.

    Tokens that the voice never says come after all that it does.
    """
    first, *rest = token_ids
    voice = Voice(text_of(first))
    entries = [TokenLogprob(text_of(first).encode(), 0.0)]
    for position, token_id in enumerate(rest):
        said = voice.alternatives(position, _WORDS // 2)
        rank = said.index(token_id) if token_id in said else _WORDS
        tops = alternatives(voice, position, top)
        entries.append(TokenLogprob(text_of(token_id).encode(), logprob_of(rank), tuple(tops)))
    return entries
