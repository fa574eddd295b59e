"""The jobs in a generator."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.runner.engines.exllamav2.backend import Backend
from services.runner.engines.exllamav2.jobs.images import Image, Images
from services.runner.engines.exllamav2.jobs.logits import LogitFilter, ShapeLostError
from services.runner.engines.exllamav2.jobs.run import Active, Prepared, Run
from services.runner.engines.exllamav2.jobs.sampling import sampler_settings
from services.runner.engines.exllamav2.jobs.steps import StepAssembler
from services.runner.engines.exllamav2.vocabulary import Vocabulary
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.job import Job, Step
from services.runner.refusals import cache_taken, context_exceeded, scored_ends, shape_lost

log = get_logger()
_Post = tuple[Run, Step | MeshError]


class Batch:
    """Admits jobs to a generator, iterates it and reads its results; used by the engine's thread alone."""

    def __init__(self, backend: Backend, generator: Any, vocabulary: Vocabulary) -> None:
        self._backend = backend
        self.generator = generator
        self._vocabulary = vocabulary
        self._images = Images(backend)
        self._active: dict[Run, Active] = {}

    @property
    def active(self) -> int:
        """Jobs in the generator."""
        return len(self._active)

    @property
    def pages_free(self) -> int:
        """Pages that no job refers to."""
        return len(self.generator.unreferenced_pages)

    @property
    def pages_total(self) -> int:
        """Pages of the cache."""
        pages: int = self.generator.max_pages
        return pages

    def admit(self, prepared: Prepared) -> Sequence[_Post]:
        """Starts a job, or returns how it has ended already."""
        try:
            return self._admit(prepared)
        except MeshError as refusal:
            # Its traceback would hold on to the generator, and so to the cache, for as long as somebody has it.
            return [(prepared.run, refusal.with_traceback(None))]
        except Exception:
            log.exception("job_not_started", request_id=prepared.run.job.request_id)
            return [(prepared.run, _failure())]

    def cancel(self, run: Run) -> None:
        """Takes a job out; harmless if it is not there."""
        active = self._active.pop(run, None)
        if active is not None:
            self.generator.cancel(active.handle)

    def finish(self, run: Run, reason: FinishReason) -> Sequence[_Post]:
        """Takes a job out and returns its last step; does nothing if it has no token yet, or is not there."""
        active = self._active.get(run)
        if active is None or not active.answer.completion_tokens:
            return ()
        self.cancel(run)
        return [(run, active.answer.finish(Step(), reason, _cached(active)))]

    def measure(self, images: Sequence[Image], tokens: Future[int]) -> None:
        """Says how many tokens images are."""
        try:
            tokens.set_result(self._images.count(images))
        except Exception:
            log.exception("images_not_measured")
            tokens.set_exception(_failure())

    def abandon(self) -> list[Run]:
        """Forgets all jobs and returns them; the generator must not be used any more."""
        runs, self._active = list(self._active), {}
        return runs

    def iterate(self, posts: list[_Post]) -> int:
        """Advances all jobs, adds what they say to `posts`, and returns how many tokens they said.

        Any exception is a crash.
        """
        tokens = 0
        for result in self.generator.iterate():
            run: Run = result["job"].identifier
            run.progress += 1
            active = self._active.get(run)
            # A job that was taken out since has nothing more to say; one that only reads its prompt has nothing yet.
            if active is None or result["stage"] != "streaming":
                continue
            before = active.answer.completion_tokens
            step = self._read_safely(active, result)
            tokens += active.answer.completion_tokens - before
            if isinstance(step, MeshError) or step.finish_reason is not None:
                posts.append((run, step))
                self.cancel(run)
            elif step.text or step.token_ids:
                posts.append((run, step))
        return tokens

    def _admit(self, prepared: Prepared) -> Sequence[_Post]:
        run, job = prepared.run, prepared.run.job
        prompt, embeddings = self._images.join(prepared.parts, prepared.images)
        context = self._backend.options.longest
        if len(prompt) >= context:
            raise context_exceeded(context, len(prompt))
        token_ids = [*prompt, *job.resume_token_ids]
        answer = StepAssembler(job, self._vocabulary, len(prompt))
        room = _room(job, context - len(token_ids))
        if job.score_prompt:
            if self._vocabulary.eos_token_ids.intersection(prompt[1:]):
                raise scored_ends()
            answer.score(prompt)
            token_ids, room = token_ids[:1], room + len(prompt) - 1
        if room <= 0:
            return [(run, answer.finish(Step(), FinishReason.LENGTH))]
        logit_filter = None
        if LogitFilter.needed(job):
            backend = self._backend
            logit_filter = LogitFilter(
                backend.model, backend.tokenizer, self._vocabulary, job, prepared.matcher, prompt
            )
        handle = self._new_handle(run, token_ids, room, logit_filter, embeddings)
        self._enqueue(handle)
        self._active[run] = Active(run, handle, answer, logit_filter)
        return ()

    def _new_handle(
        self, run: Run, token_ids: list[int], room: int, logit_filter: LogitFilter | None, embeddings: list[Any]
    ) -> Any:
        import torch

        from services.runner.engines.exllamav2.jobs.scoped import ScopedJob

        sampling = run.job.sampling
        handle = ScopedJob(
            scope=run.job.cache_scope,
            input_ids=torch.tensor([token_ids], dtype=torch.long),
            # The library ends a job as many tokens early as it drafts.
            max_new_tokens=room + self._backend.options.drafted,
            gen_settings=sampler_settings(sampling),
            seed=sampling.seed,
            stop_conditions=sorted(self._vocabulary.eos_token_ids),
            filters=[] if logit_filter is None else [logit_filter],
            embeddings=embeddings,
            identifier=run,
        )
        for _ in run.job.resume_token_ids:
            # Each token took one number from the generator of random numbers.
            handle.rng.random()
        return handle

    def _enqueue(self, handle: Any) -> None:
        """Queues a job whose pages are free now, shared prefixes counted once; raises MeshError OVERLOADED otherwise.

        Jobs that wait in the library's own queue could have been running on another machine.
        """
        generator = self.generator
        generator.enqueue(handle)
        if sum(job.current_new_pages_required() for job in generator.pending_jobs) > self.pages_free:
            generator.cancel(handle)
            raise cache_taken()

    def _read_safely(self, active: Active, result: dict[str, Any]) -> Step | MeshError:
        failure = None if active.filter is None else active.filter.failure
        if failure is None:
            try:
                return _read(active, result)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one job ends that job
                failure = error
        if isinstance(failure, ShapeLostError):
            log.warning("shape_lost", request_id=active.run.job.request_id)
            return shape_lost()
        log.error("job_failed", request_id=active.run.job.request_id, exc_info=failure)
        return _failure()


def _room(job: Job, room: int) -> int:
    """Returns how many tokens are still to be produced, of which the context has `room`."""
    return room if job.max_tokens is None else min(room, job.max_tokens - len(job.resume_token_ids))


def _read(active: Active, result: dict[str, Any]) -> Step:
    """Returns what one result of the library means."""
    ended = result["eos"]
    token_ids = _tokens(result)
    by_token = ended and result["eos_reason"] == "stop_token"
    if ended:
        # The library may hold tokens back for a character that is not complete, and then the end of the answer.
        token_ids += _tokens(result.get("held", {}))
    if by_token:
        token_ids.pop()
    answer = active.answer
    step = answer.take(token_ids, active.filter.entries if active.filter is not None else None)
    if by_token:
        answer.completion_tokens += 1
    if ended:
        reason = FinishReason.STOP if by_token else FinishReason.LENGTH
        last = answer.finish(step, reason, _cached(active))
        if by_token and active.run.job.score_prompt and active.filter is not None:
            # Whoever asks for scores takes the last entry for what the model made of the prompt.
            last.logprobs += active.filter.entries
        return last
    return step


def _cached(active: Active) -> int:
    """Returns how many tokens of the prompt the cache had."""
    handle = active.handle
    return int(handle.cached_pages * handle.generator.page_size + handle.cached_tokens)


def _tokens(result: dict[str, Any]) -> list[int]:
    token_ids = result.get("token_ids")
    return [] if token_ids is None else [int(token_id) for token_id in token_ids[0].tolist()]


def _failure() -> MeshError:
    # What went wrong is in the log; the exception's text may quote the request.
    return MeshError(Code.INTERNAL, "The engine failed on this request. Try again.")
