"""The thread that owns model, cache and generator.

The event loop sends it commands through a queue. After each iteration it posts everything that the iteration produced
at once. The library's own asynchronous wrapper is not used: it iterates on the event loop, and one exception ends it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.runner.engines.exllamav2.backend import Backend, close_generator, free_memory
from services.runner.engines.exllamav2.facts import Throughput
from services.runner.engines.exllamav2.jobs.batch import Batch
from services.runner.engines.exllamav2.jobs.images import Image
from services.runner.engines.exllamav2.jobs.run import Prepared, Run
from services.runner.engines.exllamav2.vocabulary import Vocabulary
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.job import Step

log = get_logger()
# What one iteration said, for the event loop.
Posts = list[tuple[Run, Step | MeshError]]
# So many crashes without a finished iteration between them, and the thread gives up.
_MOST_CRASHES = 3


@dataclass(frozen=True, slots=True)
class _Cancel:
    run: Run


@dataclass(frozen=True, slots=True)
class _Finish:
    run: Run
    reason: FinishReason


@dataclass(frozen=True, slots=True)
class _Measure:
    images: Sequence[Image]
    # Is done when the images have been embedded.
    tokens: Future[int]


class Worker:
    """Runs the generator until it is stopped."""

    def __init__(
        self,
        load: Callable[[], Backend],
        vocabulary: Vocabulary,
        post: Callable[[Posts], None],
        ended: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """`load`, `post` and, when no job will run any more, `ended` are called on the thread; `clock` is steady."""
        self._load = load
        self._vocabulary = vocabulary
        self._post = post
        self._ended = ended
        self._clock = clock
        self._inbox: queue.SimpleQueue[Prepared | _Cancel | _Finish | _Measure | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="exllamav2", daemon=True)
        self._batch: Batch | None = None
        self._crashes = 0
        # Times that the generator was made anew; another thread may read it.
        self.restarts = 0
        # Is done when the model has been loaded and warmed up, or says why it could not be.
        self.ready: Future[None] = Future()
        self.progress_at = 0.0
        self.throughput = Throughput()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def add(self, prepared: Prepared) -> None:
        """Hands a job over; if the cache has no room for it, it ends with OVERLOADED."""
        self._inbox.put(prepared)

    def cancel(self, run: Run) -> None:
        """Stops a job before the next iteration; harmless if it has ended."""
        self._inbox.put(_Cancel(run))

    def finish(self, run: Run, reason: FinishReason) -> None:
        """Ends a job before the next iteration with what it has said; harmless if that is nothing, or it has ended."""
        self._inbox.put(_Finish(run, reason))

    def measure(self, images: Sequence[Image]) -> Future[int]:
        """Returns how many tokens images are, once they have been embedded between two iterations.

        The embeddings are kept for the answer that usually follows. If the thread ends before, nothing comes.
        """
        tokens: Future[int] = Future()
        self._inbox.put(_Measure(images, tokens))
        return tokens

    def stop(self) -> None:
        """Stops the thread after the iteration that runs, and waits until the model has been freed."""
        if self._thread.ident is not None:
            self._inbox.put(None)
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether jobs are still taken."""
        return self._thread.is_alive()

    @property
    def batch(self) -> Batch | None:
        """The jobs in the generator, for figures; None while there is no generator."""
        return self._batch

    def _run(self) -> None:
        try:
            backend = self._load()
            self._batch = Batch(backend, backend.new_generator(), self._vocabulary)
            self._batch.generator.warmup()
        except BaseException as error:  # noqa: BLE001 - whoever waits for the engine gets it
            self.ready.set_exception(error)
            return
        self.progress_at = self._clock()
        self.ready.set_result(None)
        try:
            self._serve(backend)
            if self._batch is not None:
                close_generator(self._batch.generator)
            self._batch = None
            backend.unload()
        except Exception:
            # A GPU that has failed for good frees nothing any more; the end of the process does.
            log.exception("model_not_freed")
        finally:
            self._ended()

    def _serve(self, backend: Backend) -> None:
        """Works until it is stopped, or has crashed for good."""
        running = True
        while running:
            try:
                running = self._take_commands()
                if running:
                    self._iterate()
                continue
            except Exception:
                # The generator's state is unknown after any exception.
                log.exception("generator_crashed")
            # Outside of the handler, whose exception holds on to the generator and its cache.
            running = self._rebuild(backend)
            if not running:
                log.error("engine_gave_up", crashes=self._crashes)

    def _take_commands(self) -> bool:
        """Carries out what the event loop wants, and waits for it if there is nothing else to do.

        Returns False if the thread is to end.
        """
        batch = self._batch
        posts: Posts = []
        try:
            while batch is not None:
                command = self._inbox.get(block=not (batch.active or posts))
                if command is None:
                    return False
                if isinstance(command, _Cancel):
                    batch.cancel(command.run)
                elif isinstance(command, _Finish):
                    posts += batch.finish(command.run, command.reason)
                elif isinstance(command, _Measure):
                    batch.measure(command.images, command.tokens)
                elif not command.run.over:
                    posts += batch.admit(command)
        except queue.Empty:
            pass
        finally:
            self._send(posts)
        return True

    def _iterate(self) -> None:
        """Advances every job by a token or by a chunk of its prompt."""
        batch = self._batch
        if batch is None or not batch.active:
            return
        posts: Posts = []
        try:
            tokens = batch.iterate(posts)
        finally:
            self._send(posts)
        self._crashes = 0
        self.progress_at = self._clock()
        self.throughput.add(self.progress_at, tokens)

    def _rebuild(self, backend: Backend) -> bool:
        """Ends all jobs so that they are resumed elsewhere, or here, and starts anew with an empty cache.

        Returns False if that fails, as it does when the GPU has failed for good, or has been tried too often.
        """
        batch, self._batch = self._batch, None
        if batch is None:
            return False
        failure = MeshError(Code.UNAVAILABLE, "The engine was interrupted. Try again.", retry_after=1.0)
        posts: Posts = [(run, failure) for run in batch.abandon()]
        close_generator(batch.generator)
        # The old cache goes before the new one comes: there may be no room for both.
        del batch
        self._crashes += 1
        try:
            free_memory()
            if self._crashes < _MOST_CRASHES:
                self._batch = Batch(backend, backend.new_generator(), self._vocabulary)
                self.restarts += 1
        except Exception:
            # After some errors of CUDA every call fails, freeing memory too.
            log.exception("generator_not_rebuilt")
        self._send(posts)
        return self._batch is not None

    def _send(self, posts: Posts) -> None:
        if posts:
            self._post(posts)
