"""Events of llama.cpp's completion endpoint → steps."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.runner.engines.llamacpp.body import replays
from services.runner.engines.llamacpp.guidance import Follower
from services.runner.engines.llamacpp.held import HeldTokens
from services.runner.engines.llamacpp.media import undecodable
from services.runner.engines.llamacpp.vocabulary import Vocabulary
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.text.job import Job, Step, TokenLogprob, TopLogprob
from services.runner.refusals import context_exceeded, not_continued, shape_lost


class _Top(msgspec.Struct):
    id: int
    bytes: list[int]
    # Null stands for minus infinity.
    logprob: float | None


class Probability(msgspec.Struct):
    """What llama.cpp tells of one token that it has chosen."""

    id: int
    bytes: list[int]
    logprob: float | None
    top_logprobs: list[_Top] = []


class _Timings(msgspec.Struct):
    cache_n: int = 0


class _Verbose(msgspec.Struct):
    content: str = ""
    tokens: list[int] = []
    tokens_evaluated: int = 0
    tokens_predicted: int = 0
    timings: _Timings = msgspec.field(default_factory=_Timings)
    stop: bool = False
    stop_type: str = ""
    completion_probabilities: list[Probability] = []


class _PromptDetails(msgspec.Struct):
    cached_tokens: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _PromptDetails = msgspec.field(default_factory=_PromptDetails)


class _Error(msgspec.Struct):
    type: str = ""
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class Event(msgspec.Struct):
    """One event of a completion."""

    verbose: _Verbose | None = msgspec.field(default=None, name="__verbose")
    prompt_progress: dict[str, Any] | None = None
    usage: _Usage | None = None
    error: _Error | None = None


log = get_logger()
decode = msgspec.json.Decoder(Event).decode
_LEAST_LOGPROB = -9999.0


class EventReader:
    """Reads the events of one job."""

    def __init__(self, job: Job, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._held = HeldTokens(vocabulary)
        # Says whether an answer with a grammar follows it; set before the first event.
        self.follower: Follower | None = None
        # The scores of the prompt, if they are asked for; set before the first event that is not progress.
        self.prompt_logprobs: list[TokenLogprob] = []
        # That of the latest token, which may be the end.
        self._latest: TokenLogprob | None = None
        self._predicted = 0
        # Tokens of the prompt as the engine counts them, with those of an interrupted run where they are part of it.
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._request_id = job.request_id
        self._top = job.logprobs
        self._images = bool(job.images)
        self._resumed = len(job.resume_token_ids)
        # Tokens that a job which begins anew has to say again before it says anything new.
        self._replay = list(job.resume_token_ids) if replays(job) else []
        self._in_prompt = 0 if self._replay else self._resumed
        # llama.cpp produces one token where none is left to produce.
        self._mute = job.max_tokens is not None and self._resumed >= job.max_tokens

    def read(self, raw: bytes) -> Step | MeshError | None:
        """Returns what an event means: progress in reading the prompt means nothing."""
        event = decode(raw)
        if event.error is not None:
            return self._failure(event.error)
        if event.prompt_progress is not None:
            self._prompt_tokens = int(event.prompt_progress.get("total", 0))
            self._cached_tokens = int(event.prompt_progress.get("cache", 0))
            return None
        if event.verbose is None:
            return None
        if event.verbose.stop:
            # All of an answer that ends within what was delivered is not what the client has seen.
            if self._replay and not self._mute:
                return not_continued()
            return self._lost() if self._ends_early(event.verbose) else self._last(event.verbose, event.usage)
        return Step("", [], []) if self._mute else self._next(event.verbose)

    def cut_short(self, reason: FinishReason) -> Step | None:
        """Returns the last step of an answer that ends where it is now; None if it has no token yet."""
        completion_tokens = max(self._predicted + self._in_prompt, self._resumed)
        if not completion_tokens:
            return None
        prompt_tokens = max(0, self._prompt_tokens - self._in_prompt)
        usage = TokenCounts(prompt_tokens, completion_tokens, min(self._cached_tokens, prompt_tokens))
        return Step("", [], [], reason, usage, self.prompt_logprobs)

    def _next(self, event: _Verbose) -> Step | MeshError:
        untold = event.tokens_predicted - self._predicted - len(event.tokens)
        self._predicted = event.tokens_predicted
        entry = self._latest = self._logprob(event.completion_probabilities)
        for token_id in event.tokens:
            self._held.add(untold, token_id, entry)
            untold = 0
        if not event.content:
            return Step("", [], [])
        if self.follower is not None and not self.follower.take(event.content):
            return self._lost()
        step = Step(event.content, *self._held.take(event.content))
        return self._without_replay(step) if self._replay else step

    def _ends_early(self, event: _Verbose) -> bool:
        """Whether the model ended an answer that its grammar does not let end there."""
        by_itself = not self._mute and event.stop_type != "limit"
        return by_itself and self.follower is not None and not self.follower.may_end()

    def _lost(self) -> MeshError:
        log.warning("shape_lost", request_id=self._request_id)
        return shape_lost()

    def _logprob(self, entries: list[Probability]) -> TokenLogprob | None:
        if self._top is None or not entries:
            return None
        return read_probability(entries[0], self._top)

    def _without_replay(self, step: Step) -> Step | MeshError:
        """Drops what has been delivered before the job was resumed, or fails if the engine says something else."""
        again = min(len(self._replay), len(step.token_ids))
        if step.token_ids[:again] != self._replay[:again]:
            # As most do that choose by chance.
            return not_continued()
        del self._replay[:again]
        new = step.token_ids[again:]
        return Step(self._vocabulary.text(new), new, step.logprobs[again:])

    def _last(self, event: _Verbose, usage: _Usage | None) -> Step:
        if usage is None:
            # The listener counts elsewhere.
            cached = _PromptDetails(event.timings.cache_n)
            usage = _Usage(event.tokens_evaluated, event.tokens_predicted, cached)
        prompt_tokens = usage.prompt_tokens - self._in_prompt
        completion_tokens = self._resumed if self._mute else usage.completion_tokens + self._in_prompt
        cached_tokens = min(usage.prompt_tokens_details.cached_tokens, prompt_tokens)
        if self.prompt_logprobs:
            # The cache has the prompt of the job itself.
            cached_tokens = 0
        reason = FinishReason.LENGTH if self._mute or event.stop_type == "limit" else FinishReason.STOP
        counts = TokenCounts(prompt_tokens, completion_tokens, cached_tokens)
        step = Step("", [], [], reason, counts, self.prompt_logprobs)
        if self.prompt_logprobs and reason is FinishReason.STOP and self._latest is not None:
            # Whoever asks for scores takes the last entry for what the model made of the prompt.
            step.logprobs.append(replace(self._latest, token=b""))
        return step

    def _failure(self, error: _Error) -> MeshError:
        if error.type == "exceed_context_size_error":
            return context_exceeded(error.n_ctx, error.n_prompt_tokens - self._in_prompt)
        if self._images and error.type == "invalid_request_error":
            return undecodable()
        # The server's own words may quote the request.
        return MeshError(Code.INTERNAL, f"The engine failed ({error.type or 'no reason given'}). Try again.")


def scored_event(prompt_tokens: int) -> bytes:
    """Returns the last event of a job that has read so many tokens, and was to say nothing."""
    return msgspec.json.encode(Event(_Verbose(tokens_evaluated=prompt_tokens, stop=True, stop_type="limit")))


def read_probability(entry: Probability, top: int = 0) -> TokenLogprob:
    """Returns what is told of a token, with so many alternatives."""
    alternatives = tuple(TopLogprob(bytes(each.bytes), number(each.logprob)) for each in entry.top_logprobs[:top])
    return TokenLogprob(bytes(entry.bytes), number(entry.logprob), alternatives)


def number(logprob: float | None) -> float:
    """Returns a log probability, for which llama.cpp may say nothing."""
    return _LEAST_LOGPROB if logprob is None else logprob
