"""`tiermesh certs`."""

from __future__ import annotations

from pathlib import Path

import click

from services.cli.dev_certificates import PARTS, make_dev_certificates


@click.group()
def certs() -> None:
    """Make certificates for mutual TLS."""


@certs.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="For how long they are valid."
)
@click.option("--host", "hosts", multiple=True, help="A further DNS name or IP address of etcd; may be repeated.")
def dev(directory: Path, days: int, hosts: tuple[str, ...]) -> None:
    """Make a throw-away authority and a certificate for each part of a mesh in DIRECTORY.

    For laptops and tests: the authority's key is thrown away at once, so all certificates are made anew together.
    """
    make_dev_certificates(directory, days=days, hosts=hosts)
    click.echo(
        f"Made {directory}/<part>/ca.crt, tls.crt and tls.key for {', '.join(PARTS)}; valid for {days} days.\n"
        f"Each service takes its own, such as TIERMESH_AUTH_TLS_CA_FILE={directory}/auth/ca.crt, "
        "TIERMESH_AUTH_TLS_CERT_FILE=… and TIERMESH_AUTH_TLS_KEY_FILE=…; management commands take the operator's by "
        "TIERMESH_TLS_CA_FILE, TIERMESH_TLS_CERT_FILE and TIERMESH_TLS_KEY_FILE."
    )
