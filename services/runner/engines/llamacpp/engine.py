"""The embedded engine for machines without a GPU: llama.cpp with its continuous batching, in this process."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from services.common.catalog import Kind
from services.common.errors import MeshError
from services.common.limits.chats import MOST_SCORED
from services.common.settings import SettingsError
from services.runner.engines.llamacpp.body import completion_fields, image_data, media_body, written_prompt
from services.runner.engines.llamacpp.events import EventReader, scored_event
from services.runner.engines.llamacpp.guidance import Guidance
from services.runner.engines.llamacpp.listener import Listener
from services.runner.engines.llamacpp.media import undecodable
from services.runner.engines.llamacpp.model_file import check_model_file, chosen_template, read_vocabulary
from services.runner.engines.llamacpp.run import Generate, Run
from services.runner.engines.llamacpp.scoring import PromptScorer
from services.runner.engines.llamacpp.server import ServerOptions, library_path, load_server, signals_kept
from services.runner.engines.llamacpp.slots import Slots
from services.runner.engines.llamacpp.vocabulary import Vocabulary
from services.runner.kinds.text.engine import Emit
from services.runner.kinds.text.job import Job, PromptTokens
from services.runner.kinds.text.prompt.grammar import in_few_words, shaped_by
from services.runner.refusals import (
    context_exceeded,
    engine_closed,
    images_refused,
    not_compiled,
    slots_taken,
    too_many_scored,
)


class LlamaCppEngine:
    """Runs up to `slots` jobs at once, each with `context` tokens.

    llama.cpp reads prompts `prefill_chunk` tokens at a time: larger is faster for long prompts, smaller lets a
    cancellation take effect sooner. If jobs run and nothing has come from llama.cpp for `stall_seconds`, the engine is
    not healthy. Jobs may have images if `projector`, the model's image encoder, is given; `around_images` is what the
    model wants before and after each.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of its own, and only by name
        self,
        model_path: Path | str,
        *,
        slots: int = 4,
        context: int = 2048,
        threads: int = 1,
        prefill_chunk: int = 16,
        chat_template: str = "",
        projector: Path | None = None,
        around_images: tuple[str, str] = ("", ""),
        stall_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = "llamacpp"
        self.kind: Kind = "chat"
        self.slots = slots
        self.context = context
        self._options = ServerOptions(Path(model_path), slots, context, threads, prefill_chunk, projector=projector)
        self._around_images = around_images
        self._listener: Listener | None = None
        self._chat_template = chat_template
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._progress_at = 0.0
        self._vocabulary: Vocabulary | None = None
        self._server: Any = None
        self._guidance: Guidance | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # A cancelled job keeps its thread until llama.cpp notices, so there are more threads than slots.
        self._threads = ThreadPoolExecutor(2 * slots, thread_name_prefix="llamacpp")
        self._running: dict[Run, None] = {}
        self._places = Slots(slots)
        self._workers: set[Future[None]] = set()
        # Events on their way from worker threads to the event loop, and whether the loop has been told.
        self._events: deque[tuple[Run, bytes | MeshError | None]] = deque()
        self._told = False

    async def start(self) -> None:
        """Loads the model on another thread; raises FileNotFoundError, ValueError or RuntimeError if it cannot.

        Raises SettingsError for a model that cannot be served, and for a longer context than the model has: llama.cpp
        would shorten it silently.
        """
        loop = asyncio.get_running_loop()
        path = self._options.model_path
        if not path.is_file():
            raise FileNotFoundError(f"there is no model file {path}")
        await loop.run_in_executor(self._threads, partial(check_model_file, path, templated=bool(self._chat_template)))
        self._vocabulary = await loop.run_in_executor(self._threads, read_vocabulary, path)
        self._confirm_context(self._vocabulary.trained_context)
        self._chat_template = self._chat_template or chosen_template(self._vocabulary)
        with signals_kept():
            self._server = await loop.run_in_executor(self._threads, load_server, self._options)
        self._guidance = Guidance(library_path())
        self._listener = Listener(self._server, self._options.api_key)
        self._confirm_context(await loop.run_in_executor(self._threads, self._listener.context))
        self._loop = loop

    def submit(self, job: Job, emit: Emit) -> Run:
        """Accepts a job; raises MeshError OVERLOADED, or INVALID_REQUEST for a grammar that cannot be compiled."""
        if self._loop is None or self._vocabulary is None:
            raise engine_closed()
        if len(self._running) >= self.slots:
            raise slots_taken(self.slots)
        # Made first, because it may refuse the job.
        fields = self._fields(job, self._vocabulary)
        reader = EventReader(job, self._vocabulary)
        place = self._places.place(job, self._running)
        run = Run(
            self._generation(job, fields, place.fields(), reader),
            reader,
            emit,
            self._forget,
            begun=lambda run: self._places.begun(place, run, job),
        )
        self._places.take(place, run)
        if not self._running:
            self._progress_at = self._clock()
        self._running[run] = None
        worker = self._threads.submit(run.work, self._post)
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)
        return run

    @property
    def vision(self) -> bool:
        """Whether jobs may have images."""
        return self._options.projector is not None

    @property
    def active(self) -> int:
        """Jobs that occupy a slot now."""
        return len(self._running)

    @property
    def chat_template(self) -> str:
        """The model's Jinja chat template; known after `start`."""
        return self._chat_template

    @property
    def control_texts(self) -> Collection[str]:
        """What only the template may write; known after `start`."""
        return () if self._vocabulary is None else self._vocabulary.control_texts(self._chat_template)

    @property
    def healthy(self) -> bool:
        """Whether the model is loaded and, if jobs run, llama.cpp has reported lately."""
        if self._loop is None:
            return False
        return not self._running or self._clock() - self._progress_at < self._stall_seconds

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
        """Returns the tokens of a job's prompt; llama.cpp counts them beside the slots."""
        vocabulary, listener = self._vocabulary, self._listener
        if self._loop is None or vocabulary is None or listener is None:
            raise engine_closed()
        if job.images and not self.vision:
            raise images_refused()
        prompt = written_prompt(job, vocabulary, self._around_images)
        if not job.images:
            token_ids = listener.tokenize(prompt, bare=bare)
            return PromptTokens(len(token_ids), token_ids if listed else ())
        count = listener.count(prompt, image_data(job.images))
        if count is None:
            raise undecodable()
        return PromptTokens(count)

    def token_texts(self, token_ids: Sequence[int]) -> list[str]:
        """Returns how the model's file writes tokens."""
        if self._vocabulary is None:
            raise engine_closed()
        return [self._vocabulary.texts[token_id].decode(errors="replace") for token_id in token_ids]

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE, waits until llama.cpp has stopped, and frees the model."""
        self._loop = None
        for run in list(self._running):
            run.end(engine_closed())
        await asyncio.gather(*map(asyncio.wrap_future, list(self._workers)), return_exceptions=True)
        self._events.clear()
        # The server's destructor ends its threads; it may block, so it runs on another thread than the event loop's.
        server, self._server = [self._server], None
        await asyncio.get_running_loop().run_in_executor(self._threads, server.clear)
        self._threads.shutdown()

    def _confirm_context(self, tokens: int) -> None:
        """Raises SettingsError if the model has fewer tokens of context than it is to be sold with; 0 is unknown."""
        if 0 < tokens < self.context:
            raise SettingsError(
                f"{self._options.model_path.name} attends to {tokens} tokens: lower TIERMESH_RUNNER_CONTEXT from "
                f"{self.context}, and the context of its models in the catalog"
            )

    def _fields(self, job: Job, vocabulary: Vocabulary) -> dict[str, Any]:
        if job.images and not self.vision:
            raise images_refused()
        return completion_fields(job, vocabulary, self.context, self._around_images)

    def _generation(self, job: Job, fields: dict[str, Any], place: dict[str, Any], reader: EventReader) -> Generate:
        """Returns what runs the job on a worker thread."""
        if job.score_prompt:
            return partial(self._score, job, fields, place, reader)
        fields = fields | place
        if self.vision and (job.images or isinstance(fields["prompt"], list)):
            generate: Generate = partial(self._listen, fields, job.images)
        else:
            generate = partial(self._server.handle_completions, msgspec.json.encode(fields))
        return partial(self._follow, generate, job.grammar, reader) if job.grammar else generate

    def _follow(self, generate: Generate, grammar: str, reader: EventReader, on_event: Callable[[bytes], bool]) -> None:
        """Generates only if llama.cpp's own build compiles the grammar, and has the reader check what comes."""
        if self._guidance is None:
            raise engine_closed()
        try:
            reader.follower = self._guidance.follower(grammar)
        except ValueError as error:
            raise not_compiled(shaped_by(grammar), in_few_words(str(error))) from None
        generate(on_event)

    def _score(
        self,
        job: Job,
        fields: dict[str, Any],
        place: dict[str, Any],
        reader: EventReader,
        on_event: Callable[[bytes], bool],
    ) -> None:
        """Scores the prompt, and then continues it if more than that is asked for."""
        if self._vocabulary is None or self._listener is None:
            raise engine_closed()
        token_ids = job.prompt_token_ids or self._listener.tokenize(fields["prompt"])
        if len(token_ids) > MOST_SCORED:
            raise too_many_scored(len(token_ids))
        if len(token_ids) >= self.context:
            raise context_exceeded(self.context, len(token_ids))
        scorer = PromptScorer(self._complete, self._vocabulary, job.logprobs or 0, place, on_event)
        reader.prompt_logprobs = scorer.score(token_ids)
        if scorer.over:
            return
        if not job.max_tokens:
            on_event(scored_event(len(token_ids)))
            return
        self._complete({**fields, **place, "prompt": list(token_ids)}, on_event)

    def _complete(self, fields: dict[str, Any], on_event: Callable[[bytes], bool]) -> None:
        if self.vision:
            self._listen(fields, (), on_event)
        else:
            self._server.handle_completions(msgspec.json.encode(fields), on_event)

    def _listen(self, fields: dict[str, Any], images: Sequence[bytes], on_event: Callable[[bytes], bool]) -> None:
        if self._listener is None:
            raise engine_closed()
        self._listener.complete(media_body(fields, images), on_event)

    def _forget(self, run: Run) -> None:
        self._running.pop(run, None)

    def _post(self, run: Run, raw: bytes | MeshError | None) -> None:
        """Hands an event to the event loop; what several threads post at about the same time is handled in one turn."""
        self._events.append((run, raw))
        loop = self._loop
        if not self._told and loop is not None:
            self._told = True
            loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        # Reset first: an event posted from now on needs a new call, unless it is seen below.
        self._told = False
        self._progress_at = self._clock()
        while self._events:
            run, raw = self._events.popleft()
            run.handle(raw)
