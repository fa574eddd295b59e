"""Tokens as the generator chooses them → steps: whole characters, and tokens behind exactly their text."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Sequence

from services.runner.engines.exllamav2.vocabulary import Vocabulary
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.job import Job, Step, TokenLogprob

_new_decoder = codecs.getincrementaldecoder("utf-8")


class StepAssembler:
    """What has been said for one job."""

    def __init__(self, job: Job, vocabulary: Vocabulary, prompt_tokens: int) -> None:
        """`prompt_tokens` does not count the resumed ones."""
        self._vocabulary = vocabulary
        self._decoder = _new_decoder(errors="replace")
        # Tokens whose last character is not complete yet, and the text that is.
        self._group: list[tuple[int, TokenLogprob | None]] = []
        self._text = ""
        self._prompt_tokens = prompt_tokens
        self.completion_tokens = len(job.resume_token_ids)
        # Tokens of the prompt that the model is still to be made to say, and what has been told of those before.
        self._unscored = 0
        self._scores: list[TokenLogprob] = []

    def score(self, prompt: Sequence[int]) -> None:
        """Takes the first tokens that come for those of the prompt, all but its first."""
        self._unscored = len(prompt) - 1
        self._scores.append(TokenLogprob(self._vocabulary.piece(prompt[0]), 0.0))

    def take(self, token_ids: Sequence[int], entries: deque[TokenLogprob] | None) -> Step:
        """Returns the characters that are complete after these tokens.

        Each token takes its log probability from `entries`, if there are any.
        """
        step = Step()
        for token_id in token_ids:
            if self._unscored and entries:
                self._unscored -= 1
                self._scores.append(entries.popleft())
                continue
            self.completion_tokens += 1
            self._group.append((token_id, entries.popleft() if entries else None))
            self._text += self._decoder.decode(self._vocabulary.piece(token_id))
            if not self._decoder.getstate()[0]:
                self._release(step)
        return step

    def finish(self, step: Step, reason: FinishReason, cached_tokens: int = 0) -> Step:
        """Makes a step the last one; what was held back goes with it."""
        self._text += self._decoder.decode(b"", final=True)
        self._release(step)
        step.finish_reason = reason
        step.prompt_logprobs = self._scores
        step.usage = TokenCounts(self._prompt_tokens, self.completion_tokens, min(cached_tokens, self._prompt_tokens))
        return step

    def _release(self, step: Step) -> None:
        """Hands the complete characters on."""
        group, self._group = self._group, []
        text, self._text = self._text, ""
        if not group:
            return
        step.text += text
        for token_id, entry in group:
            step.token_ids.append(token_id)
            if entry is not None:
                step.logprobs.append(entry)
