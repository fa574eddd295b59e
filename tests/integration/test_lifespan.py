"""The life of a process: in which order it ends, and that it is not ready any more once a background task has died."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE

from services.common.lifecycle.lifespan import DEATH_DRAIN_SECONDS
from tests.support.ports import free_address

# Since Python 3.13 a traceback shows the lines of a program in an argument too, so no line has the whole secret.
LIFE = """
import asyncio
import sys
from services.cli.local.child import answers_ok, wait_until_ready
from services.common.lifecycle.lifespan import Lifespan
from services.common.lifecycle.process import run_service
from services.common.settings import ServiceSettings

ADDRESS = sys.argv[1]
READY = f"http://{ADDRESS}/readyz"

def close(name):
    async def close() -> None:
        print("closed", name)
    return close

async def doomed() -> None:
    await wait_until_ready(READY)
    raise KeyError("a " + "secret")

async def other() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        print("ended other")

async def serve(stop: asyncio.Event) -> None:
    async with Lifespan("auth", ServiceSettings(admin_listen=ADDRESS, drain_seconds=60), stop) as lifespan:
        lifespan.close_at_end(close("first"))
        await lifespan.start_admin()
        lifespan.close_at_end(close("second"))
        lifespan.run_in_background("other", other())
        lifespan.run_in_background("doomed", doomed())
        print("ready", await answers_ok(READY), lifespan.drain_seconds)
        await lifespan.serve()
        print("ready", await answers_ok(READY), lifespan.drain_seconds)
        {ending}

run_service(serve)
"""


async def live(ending: str) -> tuple[int | None, list[str], str]:
    """Returns the exit status of a process, the lines that it wrote, and its log."""
    command = (sys.executable, "-u", "-c", LIFE.replace("{ending}", ending), free_address())
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    lines, log = await process.communicate()
    return process.returncode, lines.decode().splitlines(), log.decode()


ORDER = [
    "ready False 60",
    f"ready False {DEATH_DRAIN_SECONDS}",
    "ended other",
    "closed second",
    "closed first",
]


async def test_a_process_whose_background_task_died_ends_in_good_order_with_1() -> None:
    status, lines, log = await live("pass")
    assert (status, lines) == (1, ORDER), log
    assert log.count("background_task_died") == 1
    assert '"task": "doomed"' in log
    assert "KeyError" in log
    assert "a secret" not in log


async def test_a_process_that_crashes_closes_everything_too() -> None:
    status, lines, log = await live('raise RuntimeError("a " + "secret")')
    assert (status, lines) == (1, ORDER), log
    assert '"event": "crashed"' in log
    assert "a secret" not in log
