"""`tiermesh up`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from services.cli.commands.options import state_directory_option
from services.cli.errors import CliError
from services.cli.local.preparation import forget_registrations, make_plan
from services.cli.local.ready_file import ReadyFile
from services.cli.local.up import LocalMesh
from services.cli.state import StateDirectory
from services.common.settings import DEFAULT_CATALOG


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port of the API; 0 takes a free one.",
)
@state_directory_option
@click.option("--models", type=click.Path(path_type=Path), help="Catalog of what is sold; a small example by default.")
@click.option(
    "--engine",
    type=click.Choice(["llamacpp", "exllamav2", "simulated"]),
    default="llamacpp",
    show_default=True,
    help="What generates the answers; exllamav2 needs a GPU, and TIERMESH_RUNNER_MODEL_PATH.",
)
@click.option(
    "--slots",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Answers generated at once by the first runner; the others generate two at most.",
)
@click.option(
    "--tier", "tiers", multiple=True, help="Start a runner for this tier only; repeatable. All that can run by default."
)
@click.option("--tls", is_flag=True, help="Mutual TLS between all services, by throw-away certificates made here.")
@click.option(
    "--ready-file", type=click.Path(path_type=Path), help="JSON file to write once the mesh serves, for scripts."
)
def up(
    port: int,
    state_dir: Path,
    models: Path | None,
    engine: str,
    slots: int,
    tiers: tuple[str, ...],
    tls: bool,
    ready_file: Path | None,
) -> None:
    """Start a whole mesh on this machine and serve until Ctrl-C.

    It runs etcd, auth, billing, router, edge and a runner for each tier whose engine is installed: `make run-all`
    installs those for embeddings, speech and transcription, and starts this. The first start makes an account with a
    key and credits; later ones find them in the state directory again. Any setting of a service that is not decided
    here can be given by its environment variable, such as TIERMESH_RUNNER_MODEL_PATH.
    """
    # Databases, logs and keys are nobody else's business, whichever process writes them.
    os.umask(0o077)
    state = StateDirectory(state_dir)
    state.create()
    try:
        with state.locked():
            forget_registrations(state)
            plan = make_plan(
                port=port,
                engine=engine,
                slots=slots,
                tiers=tiers,
                catalog_file=models or DEFAULT_CATALOG,
                state=state,
                tls=tls,
            )
            status = asyncio.run(LocalMesh(plan, ReadyFile(ready_file)).run())
    except OSError as error:
        # A full disk, for example.
        raise CliError(f"cannot go on: {error}") from error
    sys.exit(status)
