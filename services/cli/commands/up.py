"""`tiermesh up`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import get_args

import click

from services.cli.commands.options import state_directory_option
from services.cli.errors import CliError
from services.cli.local.ports import why_taken
from services.cli.local.preparation import forget_registrations, make_plan
from services.cli.local.ready_file import ReadyFile
from services.cli.local.terminal import say
from services.cli.local.up import LocalMesh
from services.cli.models.machine import machine_memory
from services.cli.models.sources import model_paths
from services.cli.models.upstream import Upstream
from services.cli.state import StateDirectory
from services.common.catalog import Kind
from services.common.settings import DEFAULT_CATALOG


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port of the API. 0 takes a free port.",
)
@click.option(
    "--console-port",
    type=click.IntRange(0, 65535),
    help="The port of the console. 0 takes a free port. Default: the one after the API's, or a free one.",
)
@click.option(
    "--operator-console-port",
    type=click.IntRange(0, 65535),
    help="The port of the operators' console. 0 takes a free port. "
    "Default: the one after the console's, or a free one.",
)
@click.option("--no-console", is_flag=True, help="Start neither console.")
@state_directory_option
@click.option("--models", type=click.Path(path_type=Path), help="The catalog file. Default: a small example.")
@click.option(
    "--model",
    "own",
    multiple=True,
    metavar="FILE.gguf|hf:OWNER/REPOSITORY[:FILE]",
    help="Serve this model in place of the example's chat models. Repeat it for more.",
)
@click.option(
    "--upstream",
    metavar="URL",
    help="Serve the model of this server, which runs already and has OpenAI's API, in place of the example's models "
    "for the same work. --tier names its tier.",
)
@click.option(
    "--upstream-key", envvar="TIERMESH_UPSTREAM_KEY", show_envvar=True, help="The key that this server asks for."
)
@click.option("--upstream-model", help="The model of this server, if it has several.")
@click.option(
    "--kind",
    type=click.Choice(get_args(Kind)),
    help="What the model of --upstream is for, if the server does not say it. Default: what it says, or chat.",
)
@click.option(
    "--context",
    type=click.IntRange(min=256),
    help="Tokens for each --model and for --upstream. Default: 32,768, or what model, memory and server allow.",
)
@click.option(
    "--engine",
    type=click.Choice(["llamacpp", "exllamav2", "simulated"]),
    help="The engine for chats. exllamav2 needs a GPU and TIERMESH_RUNNER_MODEL_PATH. Default: llamacpp.",
)
@click.option(
    "--script",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Answer by this script instead of a model, to try an agent. Chat models then have a long context.",
)
@click.option(
    "--slots",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="How many requests the first runner runs at the same time. Other runners run at most two.",
)
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    help="Start a runner only for this tier. Repeat it for more. Default: every tier that can run here.",
)
@click.option(
    "--chain",
    is_flag=True,
    help="Also start a local chain with a test token, and payments, so that credits can be topped up.",
)
@click.option("--tls", is_flag=True, help="Use mutual TLS between all services, with throw-away certificates.")
@click.option(
    "--ready-file", type=click.Path(path_type=Path), help="A JSON file to write when the mesh is ready, for scripts."
)
def up(  # noqa: PLR0913 - each is an option, and click gives it by its name
    *,
    port: int,
    console_port: int | None,
    operator_console_port: int | None,
    no_console: bool,
    state_dir: Path,
    models: Path | None,
    own: tuple[str, ...],
    upstream: str | None,
    upstream_key: str | None,
    upstream_model: str | None,
    kind: Kind | None,
    context: int | None,
    engine: str | None,
    script: Path | None,
    slots: int,
    tiers: tuple[str, ...],
    chain: bool,
    tls: bool,
    ready_file: Path | None,
) -> None:
    """Start a whole mesh on this machine until Ctrl-C.

    It runs etcd, auth, billing, router, edge, both consoles, and a runner for each tier whose engine is installed.
    `make run-all` installs the engines for embeddings, speech and transcription, and then runs this command. The first
    start creates an account with a key and credits. Later starts find them in the state directory. Set any other
    setting of a service with its environment variable, for example TIERMESH_RUNNER_MODEL_PATH.
    """
    if script is not None and engine not in (None, "simulated"):
        raise CliError("A script is for the simulated engine. Leave out --engine or --script.")
    if (own or upstream) and (models is not None or script is not None or engine not in (None, "llamacpp")):
        raise CliError(
            "--model and --upstream make a catalog of their own, and choose the engine. "
            "Leave out --models, --script or --engine."
        )
    for option, value in (("--kind", kind), ("--upstream-model", upstream_model)):
        if value is not None and not upstream:
            raise CliError(f"{option} is for --upstream. Leave it out, or name a server with --upstream.")
    if context is not None and not (own or upstream):
        raise CliError("--context is for --model and --upstream. Elsewhere, the catalog has the contexts.")
    # Databases, logs and keys are nobody else's business, whichever process writes them.
    os.umask(0o077)
    state = StateDirectory(state_dir)
    state.create()
    console = _port(console_port, port + 1)
    # Where the console takes any free port, so does that of the operators.
    operators = _port(operator_console_port, console + 1 if console else 0)
    try:
        with state.locked():
            forget_registrations(state)
            plan = make_plan(
                port=port,
                console_port=None if no_console else console,
                operator_console_port=operators,
                engine=engine or ("llamacpp" if script is None else "simulated"),
                slots=slots,
                tiers=tiers,
                catalog_file=models or DEFAULT_CATALOG,
                state=state,
                tls=tls,
                script=script,
                own=model_paths(own, memory=machine_memory(), say=say),
                upstream=_upstream(upstream, upstream_key, upstream_model, kind),
                context=context,
                chain=chain,
            )
            status = asyncio.run(LocalMesh(plan, ReadyFile(ready_file)).run())
    except OSError as error:
        # A full disk, for example.
        raise CliError(f"The mesh cannot continue: {error}.") from error
    sys.exit(status)


def _upstream(url: str | None, key: str | None, model: str | None, kind: Kind | None) -> Upstream | None:
    return Upstream(url=url, key=key or "", model=model or "", kind=kind) if url else None


def _port(chosen: int | None, default: int) -> int:
    if chosen is not None:
        return chosen
    # Nobody has asked for this one, so what is there already may keep it.
    return default if 1 < default <= 65535 and why_taken(default) is None else 0
