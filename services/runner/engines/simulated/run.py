"""One job of the simulated engine."""

from __future__ import annotations

import sys
from collections.abc import Callable

from services.common.errors import MeshError
from services.runner.engines.simulated.speech import Speech
from services.runner.engines.simulated.spelling import text_of
from services.runner.engines.simulated.voice import BYTES, TEXTS
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.engine import Emit
from services.runner.kinds.text.job import Job, Step, TokenLogprob, TopLogprob

_WORDS = len(TEXTS)
# Up to so many tokens, a limit is taken for the length that is wished for, as load tests do. Agents set larger limits,
# which only bound an answer.
LONGEST_WISH = 4096


class Run:
    """One running job, which is also its ticket."""

    __slots__ = (
        "_emit",
        "_forget",
        "_speech",
        "end",
        "fail_at",
        "logprobs",
        "position",
        "prefill",
        "prompt_logprobs",
        "prompt_tokens",
        "ready_at",
        "reason",
    )

    def __init__(
        self, job: Job, speech: Speech, emit: Emit, forget: Callable[[Run], None], *, prompt_tokens: int, room: int
    ) -> None:
        # None once the job has ended.
        self._emit: Emit | None = emit
        # Tells the engine of a cancellation.
        self._forget = forget
        self.prompt_tokens = prompt_tokens
        self._speech = speech
        self.logprobs = job.logprobs
        # Next position to speak.
        self.position = len(job.resume_token_ids)
        most = room if job.max_tokens is None else min(job.max_tokens, room)
        endless = speech.endless and job.max_tokens is not None and job.max_tokens <= LONGEST_WISH
        self.end = most if endless else min(speech.length, most)
        by_itself = not endless and self.end == speech.length
        self.reason = FinishReason.STOP if by_itself else FinishReason.LENGTH
        # The scores of the prompt, for the last step; the engine says.
        self.prompt_logprobs: list[TokenLogprob] = []
        self.fail_at = sys.maxsize
        self.ready_at = 0.0
        # How much of the prompt has been read; the engine says.
        self.prefill: Callable[[], int] = int

    @property
    def progress(self) -> int:
        """The tokens read and spoken."""
        return self.prefill() + self.position

    def cancel(self) -> None:
        """Ends the job without another word."""
        self._emit = None
        self._forget(self)

    def finish(self, reason: FinishReason = FinishReason.LENGTH) -> None:
        """Ends the job with what it has said, unless it has said nothing."""
        if self._emit is None or not self.position:
            return
        self._forget(self)
        self.deliver(self._finished(Step("", [], []), reason))

    def deliver(self, step: Step | MeshError) -> None:
        """Hands a step over, unless the receiver of an earlier step of the same tick has cancelled this job."""
        emit = self._emit
        if emit is None:
            return
        if isinstance(step, MeshError) or step.finish_reason is not None:
            self._emit = None
        emit(step)

    def advance(self) -> Step:
        """Speaks one token."""
        position = self.position
        if position >= self.end:
            return self._finished(Step("", [], []), self.reason)
        token = self._speech.token(position)
        text = TEXTS[token] if token < _WORDS else text_of(token)
        self.position = position + 1
        step = Step(text, [token], [])
        if self.logprobs is not None:
            self._add_logprob(step, position)
        return self._finished(step, self.reason) if self.position == self.end else step

    def _finished(self, step: Step, reason: FinishReason) -> Step:
        step.finish_reason = reason
        step.usage = TokenCounts(self.prompt_tokens, self.position)
        step.prompt_logprobs = self.prompt_logprobs
        return step

    def _add_logprob(self, step: Step, position: int) -> None:
        tops = alternatives(self._speech, position, max(self.logprobs or 0, 1))
        step.logprobs.append(TokenLogprob(tops[0].token, tops[0].logprob, tuple(tops[: self.logprobs])))


def alternatives(speech: Speech, position: int, count: int) -> list[TopLogprob]:
    """Returns the most likely tokens at a position: the k-th has the probability 2^-(k+1)."""
    words = speech.alternatives(position, count)
    return [TopLogprob(_bytes_of(word), logprob_of(rank)) for rank, word in enumerate(words)]


def logprob_of(rank: int) -> float:
    """Returns the log probability of a token, of which there are `rank` that are more likely."""
    return -0.6931472 * (rank + 1)


def _bytes_of(token_id: int) -> bytes:
    return BYTES[token_id] if token_id < _WORDS else text_of(token_id).encode()
