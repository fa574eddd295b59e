"""The container that gives etcd of deploy/k8s/overlays/laptop its password does so, again for each new etcd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from services.common.etcd import ROOT, EtcdClient
from services.common.etcd.errors import TokenExpiredError
from tests.support.deadlines import stretched
from tests.support.etcd import EtcdServer
from tests.support.waiting import eventually

MANIFEST = Path(__file__).parents[3] / "deploy" / "k8s" / "overlays" / "laptop" / "etcd.yaml"
PASSWORD = "correct horse"
START_SECONDS = 30.0


@asynccontextmanager
async def container(directory: Path, server: EtcdServer) -> AsyncIterator[Path]:
    """Runs the container's command; yields the file by which its probe finds it ready."""
    [stateful_set] = [each for each in yaml.safe_load_all(MANIFEST.read_text()) if each["kind"] == "StatefulSet"]
    [found] = [c for c in stateful_set["spec"]["template"]["spec"]["containers"] if c["name"] == "password"]
    *_, file = found["readinessProbe"]["exec"]["command"]
    ready = directory / "required"
    ready.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TIERMESH_CLI_ETCD_ENDPOINTS": server.endpoint,
        "TIERMESH_CLI_ETCD_PASSWORD": PASSWORD,
    }
    process = spawn([word.replace(file, str(ready)) for word in found["command"]], environment)
    try:
        yield ready
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            assert await asyncio.to_thread(process.wait, stretched(5)) == 0
        finally:
            # A container's other processes end with its first one; here they have to be told.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def spawn(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, start_new_session=True)


async def test_each_new_etcd_gets_the_password(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path)
    stranger = EtcdClient([server.endpoint])
    root = EtcdClient([server.endpoint], username=ROOT, password=PASSWORD)
    try:
        for _ in range(2):
            async with container(tmp_path, server) as ready:
                # It waits for an etcd that starts later than itself.
                await server.start()
                await eventually(ready.exists, START_SECONDS)
                with pytest.raises(TokenExpiredError):
                    await stranger.put(b"/tiermesh/runners/mine", b"")
                await root.put(b"/tiermesh/runners/ours", b"")
            # A restart of the container alone changes nothing.
            async with container(tmp_path, server) as ready:
                await eventually(ready.exists, START_SECONDS)
            # A pod that is replaced begins without data.
            await server.wipe()
    finally:
        await server.kill()
        await stranger.close()
        await root.close()
