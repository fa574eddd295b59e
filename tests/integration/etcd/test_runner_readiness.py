"""A runner is ready once it is in etcd, so that a roll-out whose runners cannot register stops at the first of them."""

from __future__ import annotations

from pathlib import Path

from tests.support.etcd import EtcdServer
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually


async def test_a_runner_is_ready_only_after_its_first_registration(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path)
    settings = {"etcd_endpoints": server.endpoint, "engine": "simulated", "lease_seconds": "1"}
    runner = ServiceProcess("runner", tmp_path, settings)
    try:
        await runner.start(ready=False)
        # It serves and has tried to register.
        await eventually(lambda: "etcd_registration_lost" in runner.log())
        assert "engine_ready" in runner.log()
        assert await runner.answers()
        assert not await runner.ready()
        await server.start()
        await eventually(runner.ready)
        # etcd's later outage is none of the runner's: it still serves those who know it.
        await server.stop()
        await eventually(lambda: runner.log().count("etcd_registration_lost") == 2)
        assert await runner.ready()
    finally:
        await runner.kill()
        await server.kill()
