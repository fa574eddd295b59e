"""`tiermesh etcd`."""

from __future__ import annotations

import asyncio
import os

import click

from services.cli.errors import CliError
from services.common.etcd import ROOT, EtcdClient, EtcdError
from services.common.settings import split_list

_PASSWORD = "TIERMESH_CLI_ETCD_PASSWORD"  # noqa: S105 - the name of the variable


@click.group()
def etcd() -> None:
    """Protect the etcd of a mesh without TLS."""


@etcd.command("require-password")
@click.option(
    "--etcd-endpoints",
    envvar="TIERMESH_CLI_ETCD_ENDPOINTS",
    default="127.0.0.1:2379",
    show_default=True,
    show_envvar=True,
    help="Comma-separated addresses of etcd's members, host:port each.",
)
def require_password(etcd_endpoints: str) -> None:
    """Make etcd require the password of its user root.

    etcd then refuses everybody else. The command reads the password from TIERMESH_CLI_ETCD_PASSWORD. Repeating it
    changes nothing.
    """
    password = os.environ.get(_PASSWORD, "")
    if not password:
        raise click.UsageError(f"Set {_PASSWORD} to the password that etcd is to require.")
    try:
        asyncio.run(_require(split_list(etcd_endpoints), password))
    except (EtcdError, ValueError) as error:
        raise CliError(f"etcd at {etcd_endpoints} does not require the password: {error}.") from error
    click.echo(f"etcd at {etcd_endpoints} requires the password of the user {ROOT}.")


async def _require(endpoints: list[str], password: str) -> None:
    client = EtcdClient(endpoints, username=ROOT, password=password)
    try:
        await client.require_password(password)
    finally:
        await client.close()
