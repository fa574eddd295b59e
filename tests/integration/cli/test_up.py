"""`tiermesh up` from its start to each of its ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.deadlines import stretched
from tests.support.mesh import STOP_SECONDS, LocalMesh, any_alive
from tests.support.ports import free_address
from tests.support.waiting import eventually

BODY = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Hello"}]}


def request(mesh: LocalMesh, path: str, body: dict[str, Any] | None = None) -> Any:
    message = urllib.request.Request(mesh.base_url + path, headers={"Authorization": f"Bearer {mesh.api_key}"})
    if body is not None:
        message.data = json.dumps(body).encode()
        message.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(message, timeout=stretched(30)) as response:
        return json.loads(response.read())


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=stretched(30)) as response:
        content: bytes = response.read()
        return content


@pytest.mark.timeout(300)
async def test_a_second_start_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    # People name all ports that they open, or leave them as they are, which is the same.
    ports = [free_address().rpartition(":")[2] for _ in range(3)]
    options = zip(("--port", "--console-port", "--operator-console-port"), ports, strict=True)
    mesh = LocalMesh(tmp_path, *(word for option in options for word in option))
    await mesh.start()
    first = json.loads(mesh.ready_file.read_bytes())
    processes = mesh.processes()
    control, sites = {"etcd", "auth", "billing", "router", "runner-pro", "edge"}, {"console", "operator_console"}
    assert set(first["pids"]) == set(first["metrics"]) == control | sites
    assert [urlsplit(url).port for url in (mesh.base_url, mesh.console_url, mesh.operator_console_url)] == [
        *map(int, ports)
    ]
    assert set(first["pids"].values()) <= {process.pid for process in processes}
    assert first["state_dir"] == str(mesh.state_dir)
    assert first["api_key"] in mesh.output
    assert mesh.ready_file.stat().st_mode & 0o777 == 0o600
    assert (await asyncio.to_thread(request, mesh, "/models/tiermesh-pro"))["available"] is True
    for url in first["metrics"].values():
        assert b"process_resident_memory_bytes" in await asyncio.to_thread(fetch, url)
    answer = await asyncio.to_thread(request, mesh, "/chat/completions", BODY)
    assert answer["choices"][0]["message"]["content"]
    # Ctrl-C ends all of it in good order.
    assert await mesh.stop() == 0
    assert not any_alive(processes)
    assert not mesh.ready_file.exists()
    assert mesh.output.rstrip().endswith("stopped")

    async with mesh:
        assert (mesh.api_key, mesh.account_id) == (first["api_key"], first["account_id"])
        balance = await asyncio.to_thread(request, mesh, "/balance")
        assert balance["credits"] == 1_000_000 - 10
        for key in await mesh.command("key", "list"):
            await mesh.command("key", "revoke", key["id"])

    # A key that no longer works is replaced; the account stays.
    async with mesh:
        assert mesh.api_key != first["api_key"]
        assert (await asyncio.to_thread(request, mesh, "/balance"))["account_id"] == first["account_id"]


async def test_the_curl_line_works_when_pasted(mesh: LocalMesh) -> None:
    line = mesh.output.split("Try it:\n\n", 1)[1].split("\n\nOr in Python", 1)[0]
    done = await asyncio.to_thread(subprocess.run, line, shell=True, capture_output=True, text=True, check=True)
    assert "data: [DONE]" in done.stdout


async def test_the_python_snippet_works_when_pasted(mesh: LocalMesh, capsys: pytest.CaptureFixture[str]) -> None:
    snippet = mesh.output.split("(pip install openai):\n\n", 1)[1].split("Then,", 1)[0]
    await asyncio.to_thread(exec, snippet, {})
    assert len(capsys.readouterr().out) > 10


@pytest.mark.parametrize("service", ["etcd", "auth", "billing", "router", "runner-pro", "edge"])
async def test_a_service_that_was_killed_comes_back(mesh: LocalMesh, service: str) -> None:
    before = mesh.pids
    old = mesh.kill(service)
    await mesh.until_restarted(service, old)
    assert {name for name, pid in mesh.pids.items() if pid != before[name]} == {service}

    def serves() -> bool:
        try:
            return bool(request(mesh, "/chat/completions", BODY)["choices"])
        except OSError:
            return False

    await eventually(lambda: asyncio.to_thread(serves), 30)
    assert f"{service} was killed by SIGKILL; starting it again in" in mesh.output
    await eventually(lambda: f"{service} serves again" in mesh.output)
    (runner,) = [each for each in await mesh.command("runners") if each["state"] == "ready"]
    assert runner["models"] == ["tiermesh-pro", "tiermesh-lite"]


async def test_no_orphan_is_left_when_up_itself_is_killed(tmp_path: Path) -> None:
    mesh = LocalMesh(tmp_path)
    await mesh.start()
    processes = mesh.processes()
    await mesh.kill_all()
    await eventually(lambda: not any_alive(processes))
    # What the killed one left behind is in nobody's way.
    async with mesh:
        assert set(mesh.pids.values()).isdisjoint(process.pid for process in processes)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_other_signals_end_it_in_good_order_too(tmp_path: Path, number: signal.Signals) -> None:
    mesh = LocalMesh(tmp_path)
    mesh.spawn()
    await eventually(lambda: "starting" in mesh.output if mesh.output_file.exists() else False, 30)
    # In the middle of its start, even.
    processes = mesh.processes()
    mesh.process.send_signal(number)
    assert await asyncio.to_thread(mesh.process.wait, STOP_SECONDS) == 0
    assert not any_alive(processes)
    assert "Traceback" not in mesh.output


async def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    mesh = LocalMesh(tmp_path, environ={"TIERMESH_RUNNER_SIMULATED_SPEED": "1"})
    await mesh.start()
    processes = mesh.processes()
    endless = asyncio.create_task(asyncio.to_thread(request, mesh, "/chat/completions", BODY))

    async def busy() -> bool:
        return bool((await mesh.command("runners"))[0]["active"])

    await eventually(busy)
    mesh.process.send_signal(signal.SIGINT)
    await eventually(lambda: "finishing the running requests" in mesh.output)
    assert mesh.process.poll() is None
    os.kill(mesh.process.pid, signal.SIGINT)
    assert await asyncio.to_thread(mesh.process.wait, 5) == 130
    await asyncio.wait([endless])
    assert endless.exception() is not None
    assert not any_alive(processes)


async def test_services_keep_their_names_in_process_lists(mesh: LocalMesh) -> None:
    command = psutil.Process(mesh.pids["auth"]).cmdline()
    assert command[-2:] == ["-m", "services.auth"]
