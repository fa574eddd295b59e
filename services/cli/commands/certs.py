"""`tiermesh certs`."""

from __future__ import annotations

from pathlib import Path

import click

from services.cli.dev_certificates import PARTS, make_dev_certificates


@click.group()
def certs() -> None:
    """Create certificates for mutual TLS."""


@certs.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=90,
    show_default=True,
    help="How many days the certificates are valid.",
)
@click.option("--host", "hosts", multiple=True, help="A further DNS name or IP address of etcd. Repeat it for more.")
def dev(directory: Path, days: int, hosts: tuple[str, ...]) -> None:
    """Create throw-away certificates for all parts of a mesh.

    DIRECTORY gets a folder for each part. Use it on laptops and in tests. The authority's key is not stored, so you can
    only replace all certificates together.
    """
    make_dev_certificates(directory, days=days, hosts=hosts)
    click.echo(
        f"Created {directory}/<part>/ca.crt, tls.crt and tls.key for {', '.join(PARTS)}, valid for {days} days.\n"
        f"Give each service its own files, for example TIERMESH_AUTH_TLS_CA_FILE={directory}/auth/ca.crt, "
        "TIERMESH_AUTH_TLS_CERT_FILE=… and TIERMESH_AUTH_TLS_KEY_FILE=…. Give management commands the operator's files "
        "with TIERMESH_TLS_CA_FILE, TIERMESH_TLS_CERT_FILE and TIERMESH_TLS_KEY_FILE."
    )
