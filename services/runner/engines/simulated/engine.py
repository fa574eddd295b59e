"""A real engine with a predictable voice, for benchmarks and fault tests: it batches continuously but needs no model.

What it says depends on the prompt, the grammar and the position alone, so a resumed answer goes on exactly where it
stopped. Sampling parameters change nothing: it says what is most likely. With a script it says what the script tells it
to, in the raw text of a model that thinks and calls functions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from functools import partial

from services.common.catalog import Kind
from services.common.errors import Code, MeshError
from services.common.limits.chats import MOST_SCORED
from services.runner.engines.simulated import spelling, voice
from services.runner.engines.simulated.completion import complete
from services.runner.engines.simulated.conversation import PLAIN_TEMPLATE, SCRIPTED_TEMPLATE, read_prompt
from services.runner.engines.simulated.run import Run
from services.runner.engines.simulated.scores import scores
from services.runner.engines.simulated.script import Rule, Script
from services.runner.engines.simulated.speech import Speech, WrittenSpeech
from services.runner.kinds.text.engine import Emit
from services.runner.kinds.text.job import Job, PromptTokens, Step
from services.runner.kinds.text.prompt.thought import THINK_OPEN
from services.runner.refusals import context_exceeded, engine_closed, slots_taken, too_many_scored, unknown_tokens


class SimulatedEngine:
    """Speaks for up to `slots` jobs at once; every tick advances all of them by one token, in one turn of the loop.

    `tokens_per_second` is the speed of each job and `prefill_tokens_per_second` that of reading its prompt; 0 means
    as fast as possible. With `fail_after_tokens`, every job fails with `failure` after so many tokens of its own.
    """

    def __init__(
        self,
        *,
        slots: int = 8,
        context: int = 4096,
        prefill_tokens_per_second: float = 0.0,
        tokens_per_second: float = 0.0,
        fail_after_tokens: int | None = None,
        failure: Code = Code.INTERNAL,
        script: Script | None = None,
    ) -> None:
        self.name = "simulated"
        self.kind: Kind = "chat"
        self.slots = slots
        self.context = context
        self._prefill_seconds = 1 / prefill_tokens_per_second if prefill_tokens_per_second else 0.0
        self._interval = 1 / tokens_per_second if tokens_per_second else 0.0
        self._fail_after = fail_after_tokens
        self._failure = failure
        self._script = script
        # A dict, because it keeps the order of arrival and forgets a job at once.
        self._running: dict[Run, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Handle | None = None
        self._wake_at = 0.0
        # When the next token is due, on the loop's clock.
        self._due = 0.0
        self._cpu_seconds = 0.0

    async def start(self) -> None:
        """Opens the engine to jobs."""
        self._loop = asyncio.get_running_loop()

    def submit(self, job: Job, emit: Emit) -> Run:
        """Accepts a job; raises MeshError OVERLOADED, CONTEXT_LENGTH_EXCEEDED or, for its grammar, INVALID_REQUEST."""
        if self._loop is None:
            raise engine_closed()
        if len(self._running) >= self.slots:
            raise slots_taken(self.slots)
        scored = (job.prompt_token_ids or spelling.spell(job.prompt)) if job.score_prompt else ()
        if len(scored) > MOST_SCORED:
            raise too_many_scored(len(scored))
        prompt_tokens = len(scored) or _count(job)
        if prompt_tokens >= self.context:
            raise context_exceeded(self.context, prompt_tokens)
        speech = self._speech(job)
        run = Run(job, speech, emit, self._forget, prompt_tokens=prompt_tokens, room=self.context - prompt_tokens)
        if scored:
            run.prompt_logprobs = scores(scored, job.logprobs or 0)
        if self._fail_after is not None:
            run.fail_at = run.position + self._fail_after
        now = self._loop.time()
        run.ready_at = now + prompt_tokens * self._prefill_seconds
        if self._prefill_seconds:
            run.prefill = partial(self._read_tokens, self._loop, run)
        if not self._running:
            self._due = max(self._due, now)
        self._running[run] = None
        self._schedule(self._loop)
        return run

    def _speech(self, job: Job) -> Speech:
        """Returns what is said in answer to a job; raises MeshError INVALID_REQUEST for a bad grammar."""
        prompt = "".join(job.prompt_parts)
        own = voice.Voice(prompt)
        if self._script is None and not job.grammar:
            return own
        rule = self._script and self._script.answer(read_prompt(prompt))
        thinking = prompt.rstrip().endswith(THINK_OPEN)
        parts = (rule or Rule(thought=own.thought, content=own.text)).write(thinking=thinking)
        text = complete(parts, job.grammar, own, thinking=thinking) if job.grammar else "".join(parts)
        return WrittenSpeech(text, own)

    def _read_tokens(self, loop: asyncio.AbstractEventLoop, run: Run) -> int:
        """Returns how many tokens of its prompt a job has read."""
        left = max(0.0, run.ready_at - loop.time())
        return run.prompt_tokens - int(left / self._prefill_seconds)

    def _forget(self, run: Run) -> None:
        """Frees the slot of a cancelled job, and stops ticking if it was the last one."""
        self._running.pop(run, None)
        if not self._running and self._wake is not None:
            self._wake.cancel()
            self._wake = None

    @property
    def active(self) -> int:
        """Jobs that occupy a slot now."""
        return len(self._running)

    @property
    def chat_template(self) -> str:
        """Plain ChatML, without tools; with a script, a template that knows functions and thoughts."""
        return PLAIN_TEMPLATE if self._script is None else SCRIPTED_TEMPLATE

    @property
    def control_texts(self) -> Collection[str]:
        """None: its tokens are words."""
        return ()

    @property
    def healthy(self) -> bool:
        """Whether it is open: a tick cannot hang."""
        return self._loop is not None

    @property
    def cpu_seconds(self) -> float:
        """CPU time of its own work, without what the receivers of its steps do, so that benchmarks can subtract it."""
        return self._cpu_seconds

    @property
    def vocabulary(self) -> str:
        """The digest of what its tokens spell."""
        return spelling.VOCABULARY

    def detokenize(self, token_ids: Sequence[int]) -> str:
        """Returns the text of tokens of this engine; raises MeshError for tokens of another one."""
        try:
            return spelling.detokenize(token_ids)
        except ValueError:
            raise unknown_tokens("resume_token_ids") from None

    def tokenize(self, job: Job, *, bare: bool = False, listed: bool = False) -> PromptTokens:
        """Returns the length of a job's prompt; the tokens listed are those that would spell it, which are more."""
        del bare
        if self._loop is None:
            raise engine_closed()
        listing = listed and not job.images
        return PromptTokens(_count(job), (job.prompt_token_ids or spelling.spell(job.prompt)) if listing else ())

    def token_texts(self, token_ids: Sequence[int]) -> list[str]:
        """Returns the text of each token."""
        return [spelling.text_of(token_id) for token_id in token_ids]

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE, so that another runner can resume it."""
        self._loop = None
        if self._wake is not None:
            self._wake.cancel()
        running, self._running = list(self._running), {}
        for run in running:
            run.deliver(engine_closed())

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Arranges the next tick, or none if no job is left."""
        if not self._running or (self._wake is not None and self._wake_at <= self._due):
            return
        when = max(self._due, min(run.ready_at for run in self._running))
        if self._wake is not None:
            if self._wake_at <= when:
                return
            self._wake.cancel()
        self._wake_at = when
        self._wake = loop.call_soon(self._tick, loop) if when <= loop.time() else loop.call_at(when, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Advances every job whose prompt has been read by one token."""
        began = time.thread_time()
        self._wake = None
        now = loop.time()
        steps = self._advance(now)
        # A tick that came late by less than an interval is made up for; longer pauses are not.
        self._due = max(self._due + self._interval, now)
        self._schedule(loop)
        self._cpu_seconds += time.thread_time() - began
        for run, step in steps:
            run.deliver(step)

    def _advance(self, now: float) -> list[tuple[Run, Step | MeshError]]:
        steps: list[tuple[Run, Step | MeshError]] = []
        for run in self._running:
            if run.ready_at > now:
                continue
            if run.position >= run.fail_at:
                steps.append(
                    (run, MeshError(self._failure, "The simulated engine failed, because its settings say so."))
                )
            else:
                steps.append((run, run.advance()))
        for run, step in steps:
            if isinstance(step, MeshError) or step.finish_reason is not None:
                del self._running[run]
        return steps


def _count(job: Job) -> int:
    """Returns how many tokens a prompt is long that is not scored."""
    return len(job.prompt_token_ids) or voice.count_tokens(job.prompt)
