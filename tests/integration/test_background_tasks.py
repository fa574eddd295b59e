"""Whichever background task dies, of whichever service: its process says so, ends with 1, and is started again."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGTERM

import msgspec
import pytest

from services.cli.local.child import Child
from services.cli.local.log_output import LogOutput
from services.cli.local.mesh import Process
from services.common.etcd import EtcdClient
from tests.support.deadlines import within
from tests.support.dying_service import KILL, SECRET, SURVIVED
from tests.support.etcd import EtcdServer
from tests.support.ports import free_address
from tests.support.waiting import eventually

SERVICES = ("auth", "billing", "router", "edge", "runner")
# Seconds for what takes one or two on an idle machine.
_DEADLINE = 90.0


class DyingService:
    """A service under the supervision of `tiermesh up`, with the files that tell of its tasks' deaths."""

    def __init__(self, name: str, directory: Path, settings: Mapping[str, str]) -> None:
        self.name = name
        self.said: list[str] = []
        self._deaths = directory / f"{name}-deaths"
        self._deaths.mkdir()
        self._log = directory / f"{name}.log"
        prefix = f"TIERMESH_{name.upper()}_"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("TIERMESH_")}
        admin = f"http://{settings['admin_listen']}"
        migrates = name in {"auth", "billing"}
        process = Process(
            name=name,
            command=(sys.executable, "-m", "tests.support.dying_service", name, str(self._deaths)),
            environment=inherited | {prefix + key.upper(): value for key, value in settings.items()},
            ready_url=f"{admin}/readyz",
            metrics_url=f"{admin}/metrics",
            preparation=(sys.executable, "-m", f"services.{name}.migrate") if migrates else (),
        )
        # Each life seems to have been long, so that each restart comes after the shortest delay.
        seconds = itertools.count(0.0, 10.0)
        output = LogOutput(name, self._log, lambda *_: None)
        self.child = Child(process, output, say=self.said.append, started=lambda: None, monotonic=lambda: next(seconds))

    @property
    def log(self) -> list[dict[str, object]]:
        """The lines of its log, of all its lives."""
        return [msgspec.json.decode(line) for line in self._log.read_text().splitlines() if line.startswith("{")]

    @property
    def dead(self) -> set[str]:
        """The names of the tasks that have died."""
        return {path.name for path in self._deaths.iterdir()} - {KILL, SURVIVED}

    def kill(self) -> None:
        """Has one task after the other die, each in a life of its own."""
        (self._deaths / KILL).touch()

    async def survived(self) -> None:
        """Waits until every task has died once, and the process serves all the same."""
        await eventually((self._deaths / SURVIVED).exists, _DEADLINE)
        await eventually(lambda: self.said[-1] == f"{self.name} serves again", _DEADLINE)


@asynccontextmanager
async def supervised(services: list[DyingService]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(service.child.run()) for service in services]
    try:
        yield
    finally:
        for service in services:
            service.child.retire()
            service.child.send(SIGTERM)
        await asyncio.gather(*tasks)


def mesh(directory: Path, etcd: str) -> list[DyingService]:
    listen = {name: free_address() for name in SERVICES}
    settings = {name: {"listen": listen[name], "admin_listen": free_address()} for name in SERVICES}
    for name in ("auth", "billing"):
        settings[name]["database_url"] = f"sqlite:///{directory / name}.db"
    for name in ("auth", "billing", "router"):
        settings["edge"][f"{name}_addresses"] = listen[name]
    for name in ("router", "runner"):
        settings[name]["etcd_endpoints"] = etcd
    # A lease that is not released outlives the test.
    settings["runner"] |= {"engine": "simulated", "tier": "pro", "lease_seconds": "300"}
    return [DyingService(name, directory, settings[name]) for name in SERVICES]


async def test_a_background_task_that_dies_ends_its_process_which_is_started_again(tmp_path: Path) -> None:
    async with EtcdServer(tmp_path) as etcd:
        services = mesh(tmp_path, etcd.endpoint)
        client = EtcdClient([etcd.endpoint])
        async with supervised(services):
            async with within(_DEADLINE):
                await asyncio.gather(*(service.child.ready.wait() for service in services))
            for service in services:
                service.kill()
            await asyncio.gather(*(service.survived() for service in services))
            runners = await client.get_prefix(b"/tiermesh/runners/")
            assert len(runners.items) == 1, "a runner that died was still registered"
        await client.close()
    for service in services:
        check(service)


def check(service: DyingService) -> None:
    """Every death was told by name, with its exception, and ended a process with 1 after an orderly end."""
    name, deaths = service.name, [line for line in service.log if line["event"] == "background_task_died"]
    assert {str(line["task"]) for line in deaths} == service.dead
    assert len(deaths) == len(service.dead), f"{name}: {service.said}"
    assert {line["level"] for line in deaths} == {"critical"}
    assert all(str(line["exception"]).endswith("RuntimeError") for line in deaths)
    ends = [said for said in service.said if said.startswith(f"{name} ended with status 1; starting it again")]
    assert len(ends) == len(deaths), service.said
    # Each life drained, and the last one ended by SIGTERM.
    assert sum(line["event"] == "stopped" for line in service.log) == len(deaths) + 1
    assert "catalog" in service.dead
    assert SECRET not in str(service.log)


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_has_background_tasks_of_its_own(service: str) -> None:
    source = Path("services", service, "__main__.py").read_text(encoding="utf-8")
    assert "run_in_background(" in source
    assert "create_task" not in source
    assert "TaskGroup" not in source
