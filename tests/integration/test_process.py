"""How a service process ends: in good order when asked, with a clear line when it cannot start."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest

from tests.support.batch_echo import EchoServer
from tests.support.batch_echo_server import EchoProcess
from tests.support.ports import free_address

FAILING = """
import asyncio
from services.common.catalog import load_catalog
from services.common.lifecycle.process import run_service
from services.common.settings import ServiceSettings, load_settings

async def serve(stop: asyncio.Event) -> None:
    {statement}

run_service(serve)
"""


NESTED = """
import asyncio
import sys

sys.setrecursionlimit(1_000_000)

from services.common.errors import MeshError
from services.common.lifecycle.process import run_service
from services.edge.chat.request import ChatBody, chat_decoder
from services.edge.http.parsing import parse_body

async def serve(stop: asyncio.Event) -> None:
    try:
        parse_body(b'{"other": ' + b"[" * 1_000_000, chat_decoder)
    except MeshError as error:
        print(error.message, file=sys.stderr)

run_service(serve)
"""


async def run(*arguments: str) -> tuple[int | None, str]:
    """Returns the exit status of a Python process and what it wrote to standard error."""
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE, stderr=PIPE)
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def test_sigterm_ends_a_process_with_0() -> None:
    async with EchoProcess(free_address()) as process:
        assert await process.terminate() == 0


async def test_a_taken_port_ends_a_process_with_a_clear_line() -> None:
    async with EchoServer() as server:
        status, errors = await run("-m", "tests.support.batch_echo_server", server.address)
    assert status == 1
    assert errors.splitlines()[-1] == f"cannot start: cannot listen on {server.address}: is the port taken?"
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ('load_catalog("/absent/models.yaml")', "cannot read the catalog /absent/models.yaml: No such file"),
        ('load_settings(ServiceSettings, "auth", {"TIERMESH_AUTH_LISTEM": "x"})', "no such setting"),
        ('load_settings(ServiceSettings, "auth", {"TIERMESH_AUTH_TLS_KEY_FILE": "x"}).tls', "set all of TLS_CA_FILE"),
    ],
)
async def test_a_mistake_of_the_operator_ends_a_process_with_a_clear_line(statement: str, complaint: str) -> None:
    status, errors = await run("-c", FAILING.format(statement=statement))
    assert status == 1
    assert errors.startswith(f"cannot start: {complaint}")
    assert "Traceback" not in errors


async def test_what_a_package_does_to_the_recursion_limit_kills_no_service() -> None:
    status, errors = await run("-c", NESTED)
    assert (status, errors.strip()) == (0, "The request body is nested too deeply; make it flatter.")
