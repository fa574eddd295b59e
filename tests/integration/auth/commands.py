"""Runs commands of the auth service to their end."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.ports import free_address


async def run_auth(settings: Mapping[str, str], directory: Path, *, module: str = "services.auth") -> tuple[int, str]:
    """Runs a module with these settings (field names) and no others; returns its exit status and what it wrote."""
    settings = {"listen": free_address(), **settings}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIERMESH_")}
    environment |= {f"TIERMESH_AUTH_{name.upper()}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        env=environment,
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def run_migrate(settings: Mapping[str, str], directory: Path) -> tuple[int, str]:
    """Runs the migrate command."""
    return await run_auth(settings, directory, module="services.auth.migrate")
