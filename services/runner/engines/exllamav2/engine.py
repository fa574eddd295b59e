"""The production engine: ExLlamaV2 on NVIDIA GPUs, with continuous batching over a paged cache."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from services.common.catalog import Kind
from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.runner.engines.exllamav2.errors import ModelError
from services.runner.engines.exllamav2.facts import Facts
from services.runner.engines.exllamav2.jobs.images import read_image
from services.runner.engines.exllamav2.jobs.run import Run
from services.runner.engines.exllamav2.model_directory import ModelDirectory, check_draft, read_model_directory
from services.runner.engines.exllamav2.options import ExLlamaV2Options
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.engine import Emit
from services.runner.kinds.text.job import Job, PromptTokens, Step
from services.runner.kinds.text.prompt.grammar import grammar_error
from services.runner.refusals import engine_closed, images_refused, not_compiled, slots_taken, unknown_tokens

if TYPE_CHECKING:
    from services.runner.engines.exllamav2.backend import Backend
    from services.runner.engines.exllamav2.jobs.prompts import Prompts
    from services.runner.engines.exllamav2.vocabulary import Vocabulary
    from services.runner.engines.exllamav2.worker import Worker

log = get_logger()
# Whoever waits for the engine's thread looks so often, in seconds, whether it still runs.
_LOOK_SECONDS = 0.5
# Brings a model, and the one that drafts for it, into memory.
Load = Callable[[ExLlamaV2Options, ModelDirectory, ModelDirectory | None], "Backend"]


class ExLlamaV2Engine:
    """Runs up to `slots` jobs at once over one cache, whose pages they share where their prompts begin alike.

    Every page that a job may need is taken when it starts. A job for which there are not enough ends with OVERLOADED,
    and until another one has ended the engine says that all slots are occupied, so that routers look elsewhere.
    """

    def __init__(
        self, options: ExLlamaV2Options, *, load: Load | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`load` brings the model into memory; the default does so on the GPUs. `clock` is steady, in seconds."""
        self.name = "exllamav2"
        self.kind: Kind = "chat"
        self.slots = options.slots
        self.context = options.longest
        self._options = options
        self._load = load
        self._clock = clock
        self._directory: ModelDirectory | None = None
        self._vocabulary: Vocabulary | None = None
        self._reader: Prompts | None = None
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._prompts = ThreadPoolExecutor(1, thread_name_prefix="exllamav2-prompts")
        self._running: dict[Run, None] = {}
        # Whether a job was refused because the pages are taken, and none has ended since.
        self._full = False
        # What threads have to say, and whether the event loop has been told.
        self._posts: deque[tuple[Run, Step | MeshError]] = deque()
        self._told = False
        # Whether the generator has crashed for good.
        self._given_up = False

    async def start(self) -> None:
        """Loads the model on its own thread and warms it up; raises ModelError if it cannot be served."""
        loop = asyncio.get_running_loop()
        # Off the event loop: files are read, and torch takes seconds to import.
        worker = await loop.run_in_executor(self._prompts, self._new_worker)
        self._worker = worker
        worker.start()
        await asyncio.wrap_future(worker.ready)
        self._loop = loop

    def submit(self, job: Job, emit: Emit) -> Run:
        """Accepts a job; raises MeshError OVERLOADED, or INVALID_REQUEST for what the model cannot do.

        CONTEXT_LENGTH_EXCEEDED, OVERLOADED for want of pages and INVALID_REQUEST for images are emitted: it takes
        the tokenizer to tell.
        """
        if self._loop is None or self._vocabulary is None or not self._alive:
            raise engine_closed()
        if len(self._running) >= self.slots:
            raise slots_taken(self.slots)
        self._check_job(job, self._vocabulary)
        run = Run(job, emit, self._forget, self._finish)
        if not self._running and self._worker is not None:
            self._worker.progress_at = self._clock()
        self._running[run] = None
        self._prompts.submit(self._prepare, run)
        return run

    @property
    def active(self) -> int:
        """Jobs that occupy a slot now; all slots while the cache has no pages for another one."""
        return self.slots if self._full else len(self._running)

    @property
    def chat_template(self) -> str:
        """The model's Jinja chat template; known after `start`."""
        return "" if self._directory is None else self._directory.chat_template

    @property
    def control_texts(self) -> Collection[str]:
        """What only the template may write; known after `start`."""
        return () if self._vocabulary is None else self._vocabulary.control_texts

    @property
    def healthy(self) -> bool:
        """Whether the model is loaded and, if jobs run, an iteration has ended lately."""
        if self._loop is None or self._worker is None or not self._alive:
            return False
        return not self._running or self._clock() - self._worker.progress_at < self._options.stall_seconds

    @property
    def vocabulary(self) -> str:
        """The digest of what its tokens spell; known after `start`."""
        return "" if self._vocabulary is None else self._vocabulary.digest

    def detokenize(self, token_ids: Sequence[int]) -> str:
        """Returns the text of tokens of an answer."""
        if self._vocabulary is None:
            raise engine_closed()
        return self._vocabulary.text(token_ids)

    def tokenize(self, job: Job, *, bare: bool = False, listed: bool = False) -> PromptTokens:
        """Returns the tokens of a job's prompt; its images are embedded between two iterations, as for an answer."""
        reader, worker = self._reader, self._worker
        if self._loop is None or reader is None or worker is None:
            raise engine_closed()
        if job.images and not self._options.vision:
            raise images_refused()
        parts = reader.encode(job, bare=bare)
        if not job.images:
            return PromptTokens(len(parts[0]), parts[0] if listed else ())
        of_images = worker.measure([read_image(image) for image in job.images])
        while not of_images.done():
            if not worker.alive:
                raise engine_closed()
            wait([of_images], _LOOK_SECONDS)
        return PromptTokens(sum(map(len, parts)) + of_images.result())

    def token_texts(self, token_ids: Sequence[int]) -> list[str]:
        """Returns how the vocabulary writes tokens."""
        if self._vocabulary is None:
            raise engine_closed()
        return [self._vocabulary.written(token_id) for token_id in token_ids]

    def facts(self) -> Facts:
        """Returns what is known of GPUs, cache and load now."""
        from services.runner.engines.exllamav2.gpus import read_gpus

        batch = None if self._worker is None else self._worker.batch
        gpus = read_gpus()
        return Facts(
            gpus=gpus.names,
            gpu_memory_used=gpus.used,
            gpu_memory_total=gpus.total,
            pages_free=0 if batch is None else batch.pages_free,
            pages_total=0 if batch is None else batch.pages_total,
            batch_size=0 if batch is None else batch.active,
            tokens_per_second=0.0 if self._worker is None else self._worker.throughput.rate(self._clock()),
            restarts=0 if self._worker is None else self._worker.restarts,
        )

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE, waits for the iteration that runs, and frees the model."""
        self._loop = None
        self._end_all()
        loop = asyncio.get_running_loop()
        if self._worker is not None:
            await loop.run_in_executor(self._prompts, self._worker.stop)
        self._posts.clear()
        self._prompts.shutdown()

    @property
    def _alive(self) -> bool:
        return self._worker is not None and self._worker.alive and not self._given_up

    def _check(self, directory: ModelDirectory) -> None:
        """Raises ModelError for options that do not fit the model."""
        options = self._options
        if options.context > directory.context:
            raise ModelError(
                f"{directory.path.name} attends to {directory.context} tokens: "
                f"lower TIERMESH_RUNNER_CONTEXT from {options.context}"
            )
        if options.vision and not directory.vision:
            raise ModelError(f"{directory.path.name} ({directory.architecture}) sees no images: switch vision off")
        if options.tensor_parallel and not directory.tensor_parallel:
            raise ModelError(f"ExLlamaV2 has no tensor parallelism for {directory.architecture}: switch it off")

    def _new_worker(self) -> Worker:
        """Reads everything about the model but its weights; raises ModelError."""
        from services.runner.engines.exllamav2.backend import load_backend
        from services.runner.engines.exllamav2.jobs.prompts import Prompts
        from services.runner.engines.exllamav2.vocabulary import Vocabulary
        from services.runner.engines.exllamav2.worker import Worker

        options = self._options
        directory = read_model_directory(options.model_path)
        self._check(directory)
        draft = None if options.draft_path is None else read_model_directory(options.draft_path)
        if draft is not None:
            check_draft(directory, draft)
        log.info("model_loading", architecture=directory.architecture, percent=0)
        load = self._load or load_backend
        self._directory = directory
        self._vocabulary = Vocabulary(directory)
        self._reader = Prompts(self._vocabulary, self.context)
        return Worker(
            lambda: load(options, directory, draft),
            self._vocabulary,
            post=self._post,
            ended=self._worker_ended,
            clock=self._clock,
        )

    def _check_job(self, job: Job, vocabulary: Vocabulary) -> None:
        if job.grammar and (reason := grammar_error(job.grammar)):
            raise not_compiled("response_format", reason)
        if any(token_id >= vocabulary.size for token_id in job.sampling.logit_bias):
            raise unknown_tokens("logit_bias")
        for param, token_ids in (("resume_token_ids", job.resume_token_ids), ("prompt", job.prompt_token_ids)):
            if any(token_id >= vocabulary.size for token_id in token_ids):
                raise unknown_tokens(param)
        if job.images and not self._options.vision:
            raise images_refused()

    def _prepare(self, run: Run) -> None:
        """Runs on the thread for prompts."""
        if run.over or self._reader is None or self._worker is None:
            return
        try:
            self._worker.add(self._reader.prepare(run))
        except MeshError as refusal:
            self._post([(run, refusal)])
        except Exception:  # a prompt that cannot be read ends its own job
            log.exception("prompt_failed", request_id=run.job.request_id)
            self._post([(run, MeshError(Code.INTERNAL, "The engine failed to read the prompt. Try again."))])

    def _forget(self, run: Run) -> None:
        """Frees the slot of a job that has ended or was cancelled."""
        self._running.pop(run, None)
        self._full = False
        if self._worker is not None:
            self._worker.cancel(run)

    def _finish(self, run: Run, reason: FinishReason) -> None:
        if self._worker is not None:
            self._worker.finish(run, reason)

    def _post(self, posts: Sequence[tuple[Run, Step | MeshError]]) -> None:
        """Hands steps to the event loop; what comes at about the same time is handled in one turn."""
        self._posts.extend(posts)
        loop = self._loop
        if not self._told and loop is not None:
            self._told = True
            with contextlib.suppress(RuntimeError):
                # The event loop may have been closed meanwhile, and then nobody listens any more.
                loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        # Reset first: a step posted from now on needs a new call, unless it is seen below.
        self._told = False
        while self._posts:
            run, step = self._posts.popleft()
            run.deliver(step)
            if isinstance(step, MeshError) and step.code is Code.OVERLOADED and self._running:
                self._full = True

    def _worker_ended(self) -> None:
        """Runs on the worker's thread when it takes no more jobs."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._give_up)

    def _give_up(self) -> None:
        # Noted first: what is submitted from now on would reach nobody.
        self._given_up = True
        self._end_all()

    def _end_all(self) -> None:
        for run in list(self._running):
            run.deliver(engine_closed())
