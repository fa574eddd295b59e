"""Jobs of libraries that block: each runs on a thread, and what it produces comes back on the event loop."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

from services.common.catalog import Kind
from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.runner.kinds.base import AnyStep
from services.runner.refusals import engine_closed, slots_taken

log = get_logger()
JobT = TypeVar("JobT")
StepT = TypeVar("StepT", bound=AnyStep)


class ThreadedJob(Generic[StepT]):
    """One running job, which is also its ticket. Its work calls `cancelled` and `produce` on a thread of its own."""

    def __init__(self, jobs: ThreadedJobs[StepT], emit: Callable[[StepT | MeshError], None]) -> None:
        self._jobs = jobs
        # None once nobody waits for the job. Only the event loop's thread writes it.
        self._emit: Callable[[StepT | MeshError], None] | None = emit

    @property
    def progress(self) -> int:
        """Changes with the progress of any job, because a job may wait for its turn behind others."""
        return self._jobs.progress_count

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the job any more; its work asks this often and stops."""
        self._jobs.progress()
        return self._emit is None

    def produce(self, step: StepT | MeshError) -> None:
        """Hands a step or the error that ends the job to the event loop."""
        self._jobs.progress()
        self._jobs.post(self, step)

    def produce_each(self, steps: Iterable[StepT]) -> None:
        """Hands steps over as they are made, until nobody waits for them any more."""
        for step in steps:
            self.produce(step)
            if self.cancelled:
                return

    def cancel(self) -> None:
        """Ends the job without another word; its slot is taken until its work has stopped. Harmless after the end."""
        self._emit = None

    def take(self, step: StepT | MeshError) -> None:
        """Passes a step on; on the event loop's thread."""
        emit = self._emit
        if emit is None:
            return
        if isinstance(step, MeshError) or step.finish_reason is not None:
            self._emit = None
            # Its thread has nothing left to do.
            self._jobs.free(self)
        emit(step)


class ThreadedJobs(Generic[StepT]):
    """Runs up to `slots` jobs on `threads` threads; those beyond the threads wait for their turn.

    A library cannot be stopped from outside, so the slot of a cancelled job is taken until its work has noticed, or has
    had its turn: no more than `slots` jobs ever compute or wait. If jobs run and none has made progress for
    `stall_seconds`, the engine is not healthy.
    """

    def __init__(
        self,
        name: str,
        *,
        slots: int,
        threads: int = 1,
        stall_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self.slots = slots
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: set[ThreadedJob[StepT]] = set()
        self._workers: set[Future[None]] = set()
        self._progress_at = 0.0
        # How often the library has come back to us; several threads count, and only a change matters.
        self.progress_count = 0
        # Called on the event loop's thread when the slot of a job becomes free that was cancelled before.
        self.on_freed: Callable[[], None] = lambda: None

    async def load(self, loader: Callable[[], None]) -> None:
        """Runs `loader` on a thread and opens the engine to jobs; raises what the loader raises."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, loader)
        self._loop = loop

    def submit(
        self, work: Callable[[ThreadedJob[StepT]], None], emit: Callable[[StepT | MeshError], None]
    ) -> ThreadedJob[StepT]:
        """Starts a job that `work` does; raises MeshError OVERLOADED when every slot is taken."""
        loop = self._loop
        if loop is None:
            raise engine_closed()
        if len(self._running) >= self.slots:
            raise slots_taken(self.slots)
        if not self._running:
            self.progress()
        job = ThreadedJob(self, emit)
        self._running.add(job)
        worker = self._threads.submit(self._work, work, job)
        self._workers.add(worker)
        worker.add_done_callback(lambda worker: loop.call_soon_threadsafe(self._stopped, job, worker))
        return job

    @property
    def active(self) -> int:
        """Jobs that occupy a slot now."""
        return len(self._running)

    @property
    def healthy(self) -> bool:
        """Whether the engine is open and, if jobs run, one has made progress lately."""
        if self._loop is None:
            return False
        return not self._running or self._clock() - self._progress_at < self._stall_seconds

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE and waits until the threads have stopped."""
        self._loop = None
        for job in list(self._running):
            job.take(engine_closed())
        await asyncio.gather(*map(asyncio.wrap_future, list(self._workers)), return_exceptions=True)
        self._threads.shutdown()

    def progress(self) -> None:
        """Notes that the library has come back to us."""
        self._progress_at = self._clock()
        self.progress_count += 1

    def free(self, job: ThreadedJob[StepT]) -> None:
        """Frees the slot of a job, if it has one."""
        self._running.discard(job)

    def post(self, job: ThreadedJob[StepT], step: StepT | MeshError) -> None:
        """Hands a step over from a thread."""
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(job.take, step)

    def _stopped(self, job: ThreadedJob[StepT], worker: Future[None]) -> None:
        self._workers.discard(worker)
        if job in self._running:
            self.free(job)
            self.on_freed()

    def _work(self, work: Callable[[ThreadedJob[StepT]], None], job: ThreadedJob[StepT]) -> None:
        try:
            if not job.cancelled:
                work(job)
        except MeshError as error:
            job.produce(error)
        except Exception as error:  # noqa: BLE001 - whatever a library raises ends this job and no other
            # Only its type is logged: its text may quote the request.
            log.warning("engine_failed", engine=self._name, error=type(error).__name__)
        # A job that has ended already takes no notice.
        job.produce(MeshError(Code.INTERNAL, "The engine ended without a result. Try again."))


class ThreadedEngine(ABC, Generic[JobT, StepT]):
    """What engines of blocking libraries have in common; each says how it loads and how it does a job."""

    def __init__(self, name: str, kind: Kind, jobs: ThreadedJobs[StepT], *, context: int = 0) -> None:
        """`context` is in tokens; 0 where the kind of work is bounded otherwise."""
        self.name = name
        self.kind = kind
        self.slots = jobs.slots
        self.context = context
        self._jobs = jobs

    async def start(self) -> None:
        """Loads the library and the model on a thread; raises what says in words why it cannot."""
        await self._jobs.load(self._load)

    def submit(self, job: JobT, emit: Callable[[StepT | MeshError], None]) -> ThreadedJob[StepT]:
        """Accepts a job; raises MeshError OVERLOADED when every slot is taken."""
        return self._jobs.submit(partial(self._work, job), emit)

    def when_freed(self, call: Callable[[], None]) -> None:
        """Has `call` called whenever the slot of a job becomes free that was cancelled before."""
        self._jobs.on_freed = call

    @property
    def active(self) -> int:
        """Jobs that occupy a slot now."""
        return self._jobs.active

    @property
    def healthy(self) -> bool:
        """Whether it is loaded and, if jobs run, has made progress lately."""
        return self._jobs.healthy

    async def close(self) -> None:
        """Ends what runs with UNAVAILABLE and waits until its threads have stopped."""
        await self._jobs.close()

    @abstractmethod
    def _load(self) -> None:
        """Loads, on a thread."""

    @abstractmethod
    def _work(self, job: JobT, running: ThreadedJob[StepT]) -> None:
        """Does one job, on a thread: produces its steps and stops early if it was cancelled."""
