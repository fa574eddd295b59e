"""The programs of these tests reach this machine only, and the tests learn what else they wanted to reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agents.python.environment import Home, program, run

PROGRAM = """
import asyncio, socket, urllib.request

for address in [("example.invalid", 80), ("192.0.2.1", 80), ("2001:db8::1", 80)]:
    try:
        socket.create_connection(address)
    except OSError as error:
        print(error)

async def connect():
    await asyncio.open_connection("example.com", 80)

try:
    asyncio.run(connect())
except OSError as error:
    print(error)

try:
    urllib.request.urlopen("https://example.net")
except OSError as error:
    print(error.reason)

try:
    import uvloop
except ImportError:
    print("no uvloop")

with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    print("connected")
"""


def test_it_reaches_loopback_addresses_only(tmp_path: Path) -> None:
    home = Home(tmp_path)
    done = run([program(""), "-c", PROGRAM], home.environ(), directory=tmp_path)
    assert done.returncode == 0, done.stderr
    hosts = ["example.invalid", "192.0.2.1", "2001:db8::1", "example.com", "the proxy"]
    *refusals, loop, last = done.stdout.splitlines()
    assert refusals == [f"the tests have no network, so {host} cannot be reached" for host in hosts]
    assert (loop, last) == ("no uvloop", "connected")
    assert [attempt.partition(" ")[2] for attempt in home.attempts] == hosts


def test_it_finds_nothing_of_the_person_who_runs_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-person")
    home = Home(tmp_path)
    done = run(
        [program(""), "-c", "import os; print(*os.environ.values())"], home.environ(OWN="own"), directory=tmp_path
    )
    assert {"own", str(tmp_path)} <= set(done.stdout.split())
    assert "sk-of-a-person" not in done.stdout
