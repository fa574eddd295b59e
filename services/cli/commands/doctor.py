"""`tiermesh doctor`."""

from __future__ import annotations

import os
import sys

import click
import msgspec

from services.cli.commands.options import management
from services.cli.doctor.etcd import EtcdAccess
from services.cli.doctor.examination import Examination, Installation
from services.cli.doctor.finding import Finding, Verdict
from services.cli.management.session import Session
from services.cli.management.wording import counted
from services.common.clock import system_clock
from services.common.etcd import ROOT
from services.common.settings import split_list

_SERVICES = ("auth", "billing", "router")


@click.command()
@click.option(
    "--edge-url", envvar="TIERMESH_CLI_EDGE_URL", default="", show_envvar=True, help="The URL of the edge, with /v1."
)
@click.option(
    "--etcd-endpoints",
    envvar="TIERMESH_CLI_ETCD_ENDPOINTS",
    default="",
    show_envvar=True,
    help="Comma-separated addresses of etcd's members, host:port each.",
)
@click.option(
    "--etcd-username", envvar="TIERMESH_CLI_ETCD_USERNAME", default="", show_envvar=True, help="The user in etcd."
)
@click.option("--strict", is_flag=True, help="Count warnings as failures.")
@management(*_SERVICES)
async def doctor(session: Session, edge_url: str, etcd_endpoints: str, etcd_username: str, strict: bool) -> None:
    """Check a running installation. Prints one line for each check. Exits with status 1 if a check fails.

    An address may be a comma-separated list of all replicas. The command reads the password of etcd's user from
    TIERMESH_CLI_ETCD_PASSWORD, and an API key for a request to the edge from TIERMESH_API_KEY.
    """
    installation = _installation(session, edge_url, etcd_endpoints, etcd_username)
    findings = await Examination(installation, system_clock).run()
    bad = {Verdict.FAILED, Verdict.WARNING} if strict else {Verdict.FAILED}
    wrong = sum(finding.verdict in bad for finding in findings)
    session.output.record({"healthy": not wrong, "findings": msgspec.to_builtins(findings)}, _text(findings))
    if wrong:
        sys.exit(1)


def _installation(session: Session, edge_url: str, etcd_endpoints: str, etcd_username: str) -> Installation:
    """Takes what is not given from the local mesh, if one runs here."""
    password = os.environ.get("TIERMESH_CLI_ETCD_PASSWORD", "")
    mesh, credentials = session.local_mesh(), session.local_credentials()
    services = {name: tuple(split_list(session.address(name))) for name in _SERVICES}
    local = mesh is not None and services["router"] == (mesh.addresses["router"],)
    if mesh is not None and local:
        edge_url = edge_url or mesh.base_url
        if not etcd_endpoints and mesh.etcd_password:
            etcd_username, password = ROOT, mesh.etcd_password
        etcd_endpoints = etcd_endpoints or mesh.addresses["etcd"]
    tls = session.tls("router")
    etcd = EtcdAccess(
        endpoints=tuple(part.rpartition("://")[2] for part in split_list(etcd_endpoints)),
        tls=tls,
        username=etcd_username,
        password=password,
    )
    return Installation(
        services=services,
        edge_url=edge_url.rstrip("/"),
        api_key=os.environ.get("TIERMESH_API_KEY", credentials.api_key if local and credentials else ""),
        etcd=etcd if etcd.endpoints else None,
        tls=tls,
    )


def _text(findings: list[Finding]) -> str:
    failures, warnings = (
        sum(finding.verdict is verdict for finding in findings) for verdict in (Verdict.FAILED, Verdict.WARNING)
    )
    summary = f"{counted(failures, 'failure')} and {counted(warnings, 'warning')}."
    return "\n".join([*(_line(finding) for finding in findings), summary])


def _line(finding: Finding) -> str:
    fix = f"; fix: {finding.fix}" if finding.fix else ""
    return f"{finding.verdict.value:<8} {finding.check:<13} {finding.target}: {finding.detail}{fix}"
