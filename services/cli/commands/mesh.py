"""`tiermesh runners` and `tiermesh models`: what the router sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from services.cli.commands.options import management
from services.cli.local.preparation import read_catalog
from services.cli.management.clients import current_availability
from services.cli.management.output import Row, to_row
from services.cli.management.recording import recorded
from services.cli.management.session import Session
from services.cli.management.wording import counted
from tiermesh.router.v1 import router_pb2


@click.command()
@management("router")
async def runners(session: Session) -> None:
    """List the runners that the router knows."""
    async with session.router() as router:
        response = await router.call(router.stub.ListRunners, router_pb2.ListRunnersRequest())
    session.output.rows(
        [to_row(runner) for runner in response.runners],
        {
            "runner": lambda row: row["id"],
            "address": lambda row: row["address"],
            "tier": lambda row: row["tier"],
            "models": lambda row: ", ".join(row["models"]),
            "state": lambda row: row["state"],
            "busy": lambda row: f"{row['active']} of {row['slots']}",
            "engine": lambda row: row["engine"],
            "free pages": lambda row: f"{row['pages_free']} of {row['pages_total']}" if row["pages_total"] else "",
            "tokens/s": lambda row: f"{row['tokens_per_second']:.0f}" if row["pages_total"] else "",
            "version": lambda row: row["version"],
        },
        empty="No runner is registered, so every request gets status 503. A runner registers in etcd when it starts.",
    )


@click.group("runner")
def runner_group() -> None:
    """Take a runner out of use, and use it again."""


@runner_group.command()
@click.argument("runner_id", metavar="RUNNER")
@management("auth", "router")
async def drain(session: Session, runner_id: str) -> None:
    """Place no more requests on RUNNER (its ID). It finishes what it runs, and keeps running."""
    async with recorded(session, "drain_runner", runner_id), session.router() as router:
        await router.call(router.stub.DrainRunner, router_pb2.DrainRunnerRequest(runner_id=runner_id))
    undo = session.command(f"runner undrain {runner_id}")
    text = f"Runner {runner_id} gets no more requests. To use it again: {undo}"
    session.output.record({"id": runner_id, "drained": True}, text)


@runner_group.command()
@click.argument("runner_id", metavar="RUNNER")
@management("auth", "router")
async def undrain(session: Session, runner_id: str) -> None:
    """Place requests on RUNNER (its ID) again."""
    async with recorded(session, "undrain_runner", runner_id), session.router() as router:
        await router.call(router.stub.UndrainRunner, router_pb2.UndrainRunnerRequest(runner_id=runner_id))
    session.output.record({"id": runner_id, "drained": False}, f"Runner {runner_id} gets requests again.")


@click.command()
@click.option(
    "--models",
    "catalog",
    type=click.Path(path_type=Path),
    envvar="TIERMESH_CLI_CATALOG_FILE",
    show_envvar=True,
    help="The catalog file. Default: the local mesh's catalog.",
)
@management("router")
async def models(session: Session, catalog: Path | None) -> None:
    """List the models, and whether they are available now."""
    sold = read_catalog(catalog or session.catalog_file()).models
    async with session.router() as router:
        availability = await current_availability(router)
    rows = [_row(msgspec.to_builtins(model), availability.get(model.id)) for model in sold]
    session.output.rows(
        rows,
        {
            "model": lambda row: row["id"],
            "also": lambda row: ", ".join(row["aliases"]),
            "kind": lambda row: row["kind"],
            "tier": lambda row: row["tier"],
            "credits": lambda row: f"{row['price']} an image" if row["kind"] == "image" else str(row["price"]),
            # Only kinds whose work is bounded by tokens have one.
            "context": lambda row: str(row["context"] or ""),
            "can": lambda row: ", ".join(row["capabilities"]),
            "available": _available,
        },
        empty="The catalog is empty.",
    )


def _row(model: dict[str, Any], seen: router_pb2.ModelAvailability | None) -> dict[str, Any]:
    return {**model, "available": bool(seen and seen.available), "runners": seen.runners if seen else 0}


def _available(row: Row) -> str:
    if not row["available"]:
        return f"no runner of tier {row['tier']}"
    return f"yes, {counted(row['runners'], 'runner')}"
