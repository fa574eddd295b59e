"""An event loop on a virtual clock that carries several processes, each of which can be stopped and killed.

No time passes while anything runs. When nothing can run, the clock moves to the next timer. Whatever is scheduled
belongs to the process that schedules it, by a context variable that tasks and callbacks inherit. A process that is
stopped runs nothing, timers included, and finds everything at once when it goes on; one that is killed runs nothing
ever again, not even its `finally`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import sys
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, cast

T = TypeVar("T")
# When the clock starts, in seconds: not at 0, because frames say "unknown" by that.
_START = 1000.0
# Turns without any time passing that no correct program takes.
_MOST_TURNS = 200_000


class StuckError(AssertionError):
    """The loop turns without end, or nothing is left that could happen."""


class Process:
    """One process. `dead` and `stopped` are changed by the loop alone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.stopped = False
        # What came while it was stopped: messages, and timers that became due.
        self.waiting: list[_Handle] = []
        self.overdue: list[_Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.context = copy_context()
        self.context.run(_process.set, self)

    def __repr__(self) -> str:
        return f"<process {self.name}>"


_process: ContextVar[Process] = ContextVar("process")


def current_process() -> Process:
    """Returns the process of what runs now."""
    return _process.get()


class _Handle(asyncio.TimerHandle):
    """Something to be run; also what is to be run at once is one, so that there is one kind."""

    __slots__ = ("process",)
    process: Process
    # Of asyncio's handle, which the types do not show.
    _callback: Any


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs what is scheduled; `execute` stands for threads: it is given what runs in one."""

    def __init__(self) -> None:
        self.now = _START
        self.world = Process("world")
        self.execute: Callable[[Callable[[], Any]], asyncio.Future[Any]] | None = None
        self.serve: Callable[..., Any] | None = None
        # Whatever was reported as an error that nobody has caught.
        self.errors: list[str] = []
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._sequence = itertools.count()
        self._processes: list[Process] = [self.world]
        self._closed = False

    # Processes.

    def process(self, name: str) -> Process:
        """Makes a process that does nothing yet."""
        process = Process(name)
        self._processes.append(process)
        return process

    def spawn(self, process: Process, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts a task in a process."""
        task: asyncio.Task[T] = self.create_task(work, context=process.context.copy())
        return task

    def kill(self, process: Process) -> None:
        """Ends a process: nothing of it runs any more."""
        process.dead = True
        process.waiting.clear()
        process.overdue.clear()

    def stop_process(self, process: Process) -> None:
        """Makes a process stand still."""
        process.stopped = True

    def continue_process(self, process: Process, *, timers_first: bool) -> None:
        """Lets a process go on; it finds its messages and its timers in this order or the other one."""
        process.stopped = False
        found = [process.overdue, process.waiting] if timers_first else [process.waiting, process.overdue]
        self._ready.extend(itertools.chain(*found))
        process.waiting, process.overdue = [], []

    # What asyncio asks of a loop.

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> _Handle:  # type: ignore[override]  # The signature of typeshed has type variables that say the same.
        handle = self._handle(self.now, callback, args, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # As above.
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Handle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # As above.
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Handle:
        handle = self._handle(when, callback, args, context)
        heapq.heappush(self._timers, (when, next(self._sequence), handle))
        return handle

    def _handle(self, when: float, callback: Callable[..., object], args: Any, context: Context | None) -> _Handle:
        context = copy_context() if context is None else context
        handle = _Handle(when, callback, args, self, context)
        handle.process = context.get(_process) or self.world
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None, **_: Any) -> Any:
        if self._closed:
            coro.close()
            return self.create_future()
        context = copy_context() if context is None else context
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        (context.get(_process) or self.world).tasks.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # As above.
        assert self.execute is not None, "threads are not simulated"
        return self.execute(lambda: func(*args))

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        assert self.serve is not None, "servers are not simulated"
        return self.serve(protocol_factory, f"{host}:{port}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    # Running.

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs until the task is done."""
        events._set_running_loop(self)
        hooks = sys.get_asyncgen_hooks()
        # Generators that nobody ends any more are those of dead processes, which do nothing.
        sys.set_asyncgen_hooks(firstiter=lambda _: None, finalizer=lambda _: None)
        try:
            task = self.spawn(self.world, work)
            while True:
                self._run_ready()
                if task.done():
                    return task.result()
                self._advance()
        finally:
            self._bury()
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(None)

    def _run_ready(self) -> None:
        """Runs everything that can run now."""
        ready, turns = self._ready, 0
        while ready:
            handle = ready.popleft()
            if handle._cancelled or handle.process.dead:
                continue
            if handle.process.stopped:
                handle.process.waiting.append(handle)
                continue
            handle._run()
            turns += 1
            if turns > _MOST_TURNS:
                raise StuckError(f"no time passes: {handle!r}")

    def _advance(self) -> None:
        """Moves the clock to the next timer."""
        ready, timers = self._ready, self._timers
        while timers and (timers[0][2]._cancelled or timers[0][2].process.dead):
            heapq.heappop(timers)
        if not timers:
            raise StuckError("everything waits, and nothing will come")
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            handle = heapq.heappop(timers)[2]
            if handle.process.stopped and not getattr(handle._callback, "is_message", False):
                handle.process.overdue.append(handle)
            else:
                ready.append(handle)

    def _bury(self) -> None:
        """Ends what is left without letting it do anything: what its `finally` schedules is never run."""
        self._closed = True
        for process in self._processes:
            for task in process.tasks:
                if not task.done():
                    cast("Any", task)._log_destroy_pending = False
                    with suppress(BaseException):
                        cast("Any", task.get_coro()).close()
            process.tasks.clear()
        self._ready.clear()
        self._timers.clear()


def new_loop() -> VirtualLoop:
    """Makes a loop. The types call it abstract, because it lacks all that only real sockets and processes need."""
    made: Any = VirtualLoop
    loop: VirtualLoop = made()
    return loop
