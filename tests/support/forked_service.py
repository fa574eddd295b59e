"""A real service process that starts in a fraction of the time: it is forked from one that has imported all services.

For tests that start dozens of them. What runs is the same, from the first line of the service's module on.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cache
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import cast

from services.edge.endpoints import ENDPOINTS
from tests.support.process import Child, ServiceProcess

_CONTEXT = multiprocessing.get_context("forkserver")
_SERVICES = ("auth", "billing", "console", "console.operators", "edge", "payments", "router", "runner")
# The module of the caller is imported as well: each process would do it otherwise.
_IMPORTED = ["__main__", *(f"services.{name}.__main__" for name in _SERVICES)]
# These are imported when a service starts.
_IMPORTED += ["services.runner.engines.simulated.engine"]
_IMPORTED += ["services.edge.x402.configured", "services.payments.x402.configured"]
_IMPORTED += [f"services.edge.{name}.routes" for name in ENDPOINTS]
# With one of them, coverage measures each process that starts.
_COVERAGE_VARIABLES = {"COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"}
# Starting a process looks at how all earlier ones have ended, which is told once.
_LOCK = threading.Lock()


@cache
def import_services() -> None:
    """Starts the process that the others are forked from, and returns once it has imported them."""
    _CONTEXT.set_forkserver_preload(_IMPORTED)
    _fork(int).wait()


class ForkedServiceProcess(ServiceProcess):
    """Takes the same arguments, but for `python`. The first one waits for `import_services`."""

    def _launch(self) -> Child:
        # What a forked process covers is not measured.
        if _COVERAGE_VARIABLES & os.environ.keys():
            return super()._launch()
        import_services()
        return _fork(_serve, self._module, self._environment(), self._log)


class _ForkedChild:
    """What `subprocess.Popen` would offer."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return cast("int", self._process.pid)

    def poll(self) -> int | None:
        with _LOCK:
            return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        wait([self._process.sentinel], timeout)
        if (code := self.poll()) is None:
            raise TimeoutError(f"process {self.pid} did not end within {timeout} s")
        return code


def _fork(target: Callable[..., object], *arguments: object) -> _ForkedChild:
    process = _CONTEXT.Process(target=target, args=arguments, daemon=True)
    with _LOCK:
        process.start()
    return _ForkedChild(process)


def _serve(module: str, environment: Mapping[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with log.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    # It is run, as by `python -m`, and what was imported of it is not what runs.
    sys.modules.pop(f"{module}.__main__", None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
