"""Tokens as the generator chooses them → steps: whole characters, exact stop strings, tokens behind exactly their text.

The library could hold text back for stop strings by itself, but it does not say which tokens are behind which text.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterable, Sequence

from services.runner.engines.exllamav2.vocabulary import Vocabulary
from services.runner.engines.stops import StopScanner
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.job import Job, Step, TokenLogprob

_new_decoder = codecs.getincrementaldecoder("utf-8")
# Tokens whose text belongs together, because characters are spread over them.
_Group = tuple[tuple[int, TokenLogprob | None], ...]


class StepAssembler:
    """What has been said for one job."""

    def __init__(self, job: Job, vocabulary: Vocabulary, prompt_tokens: int) -> None:
        """`prompt_tokens` does not count the resumed ones."""
        self._vocabulary = vocabulary
        self._decoder = _new_decoder(errors="replace")
        self._scanner: StopScanner[_Group] | None = StopScanner(job.stop) if job.stop else None
        # Tokens whose last character is not complete yet, and the text that is.
        self._group: list[tuple[int, TokenLogprob | None]] = []
        self._text = ""
        self._prompt_tokens = prompt_tokens
        self.completion_tokens = len(job.resume_token_ids)
        # Whether a stop string came.
        self.stopped = False

    def take(self, token_ids: Sequence[int], entries: deque[TokenLogprob] | None) -> Step:
        """Returns what is certain after these tokens; each takes its log probability from `entries`, if there are any.

        Tokens after a stop string are dropped.
        """
        step = Step()
        for token_id in token_ids:
            self.completion_tokens += 1
            self._group.append((token_id, entries.popleft() if entries else None))
            self._text += self._decoder.decode(self._vocabulary.piece(token_id))
            if not self._decoder.getstate()[0]:
                self._release(step)
            if self.stopped:
                break
        return step

    def finish(self, step: Step, reason: FinishReason, cached_tokens: int = 0) -> Step:
        """Makes a step the last one; what was held back goes with it."""
        if not self.stopped:
            self._text += self._decoder.decode(b"", final=True)
            self._release(step)
        if not self.stopped and self._scanner is not None:
            _add(step, *self._scanner.flush())
        step.finish_reason = FinishReason.STOP if self.stopped else reason
        step.usage = TokenCounts(self._prompt_tokens, self.completion_tokens, min(cached_tokens, self._prompt_tokens))
        return step

    def _release(self, step: Step) -> None:
        """Hands the complete characters on."""
        group, self._group = tuple(self._group), []
        text, self._text = self._text, ""
        if not group:
            return
        if self._scanner is None:
            _add(step, text, [group])
        else:
            certain, groups, self.stopped = self._scanner.push(group, text)
            _add(step, certain, groups)


def _add(step: Step, text: str, groups: Iterable[_Group]) -> None:
    step.text += text
    for group in groups:
        for token_id, entry in group:
            step.token_ids.append(token_id)
            if entry is not None:
                step.logprobs.append(entry)
