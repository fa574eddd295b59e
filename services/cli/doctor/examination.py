"""Looks at everything, each thing for itself, so that one that is broken hides no other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.cli.doctor.certificates import look_at_own, look_at_server
from services.cli.doctor.edge import look_at_edge
from services.cli.doctor.etcd import EtcdAccess, look_at_member, look_at_registry
from services.cli.doctor.finding import Finding, failed, ok, warning
from services.cli.doctor.grpc_service import Examined, look_at_service
from services.cli.errors import CliError
from services.cli.management.clients import billing_client, current_availability, router_client
from services.cli.management.wording import counted
from services.common.clock import Clock
from services.common.registry import RunnerRecord
from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from services.common.version import VERSION
from tiermesh.billing.v1 import billing_pb2
from tiermesh.router.v1 import router_pb2

# Long enough for what is new in a ledger that nobody has audited for days.
_AUDIT_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Installation:
    """Where everything is."""

    # Addresses of every replica of auth, billing and router.
    services: Mapping[str, tuple[str, ...]]
    edge_url: str
    api_key: str = field(repr=False)
    # None where nobody said how etcd is reached.
    etcd: EtcdAccess | None
    tls: TlsSettings


class Examination:
    """One look at an installation."""

    def __init__(self, installation: Installation, clock: Clock) -> None:
        self._installation = installation
        self._tls = installation.tls
        self._clock = clock
        self._versions: dict[str, str] = {}
        self._catalogs: dict[str, str] = {}

    async def run(self) -> list[Finding]:
        """Returns all findings, in an order that puts causes before their consequences."""
        own = [look_at_own(self._tls, self._clock)] if self._tls.enabled else []
        etcd, services, edge, books, runners = await asyncio.gather(
            self._etcd(), self._services(), self._edge(), self._books(), self._routing()
        )
        found, records = etcd
        listed, routing = runners
        of_runners = await self._runners(records, listed)
        return [*own, *found, *services, *of_runners, *self._agreement(), *routing, *books, *edge]

    async def _services(self) -> list[Finding]:
        places = [(role, address) for role, addresses in self._installation.services.items() for address in addresses]
        found = await asyncio.gather(*(self._service(role, f"{role} {address}", address) for role, address in places))
        return [finding for findings in found for finding in findings]

    async def _service(self, role: str, target: str, address: str) -> list[Finding]:
        looks = [self._health(role, target, address)]
        if self._tls.enabled:
            looks.append(look_at_server(target, address, role, self._tls, self._clock))
        return list(await asyncio.gather(*looks))

    async def _health(self, role: str, target: str, address: str) -> Finding:
        examined: Examined = await look_at_service(target, address, role, self._tls)
        if examined.version:
            self._versions[target] = examined.version
        if examined.catalog:
            self._catalogs[target] = examined.catalog
        return examined.finding

    async def _etcd(self) -> tuple[list[Finding], dict[str, RunnerRecord] | None]:
        access = self._installation.etcd
        if access is None:
            fix = "give its endpoints with --etcd-endpoints or TIERMESH_CLI_ETCD_ENDPOINTS"
            return [warning("etcd", "members", "not checked", fix)], None
        members, (quorum, records) = await asyncio.gather(
            asyncio.gather(*(look_at_member(access, endpoint) for endpoint in access.endpoints)),
            look_at_registry(access),
        )
        certificates: list[Finding] = []
        if access.tls.enabled:
            looks = (
                look_at_server(f"etcd {endpoint}", endpoint, "", access.tls, self._clock)
                for endpoint in access.endpoints
            )
            certificates = await asyncio.gather(*looks)
        return [*members, quorum, *certificates], records

    async def _edge(self) -> list[Finding]:
        if not self._installation.edge_url:
            return [warning("edge", "edge", "not checked", "give its URL with --edge-url or TIERMESH_CLI_EDGE_URL")]
        return await look_at_edge(self._installation.edge_url, self._installation.api_key, self._clock)

    async def _books(self) -> list[Finding]:
        opener = channel_opener(self._tls, "billing")
        try:
            async with billing_client(self._installation.services["billing"][0], opener) as billing:
                request = billing_pb2.AuditRequest(scope=billing_pb2.AUDIT_SCOPE_NEW)
                audit = await billing.call(billing.stub.Audit, request, timeout=_AUDIT_SECONDS)
        except (CliError, OSError):
            return [failed("ledger", "billing", "could not be audited", "see the health check of billing")]
        if audit.violations:
            first = f"{counted(len(audit.violations), 'violation')}, the first: {audit.violations[0]}"
            return [
                failed("ledger", "billing", first, "stop selling; list all violations with `tiermesh ledger audit`")
            ]
        return [ok("ledger", "billing", f"correct: {audit.entries:,} entries sum to zero")]

    async def _routing(self) -> tuple[list[router_pb2.RunnerView] | None, list[Finding]]:
        opener = channel_opener(self._tls, "router")
        try:
            async with router_client(self._installation.services["router"][0], opener) as router:
                listed = await router.call(router.stub.ListRunners, router_pb2.ListRunnersRequest())
                models = await current_availability(router)
        except (CliError, OSError):
            return None, [failed("models", "router", "could not be reached", "see the health check of the router")]
        return list(listed.runners), _availability(models)

    async def _runners(
        self, records: Mapping[str, RunnerRecord] | None, listed: list[router_pb2.RunnerView] | None
    ) -> list[Finding]:
        seen = {runner.id: runner for runner in listed or ()}
        addresses = {runner.id: runner.address for runner in seen.values()}
        addresses |= {record.id: record.address for record in (records or {}).values()}
        found = await asyncio.gather(
            *(self._service("runner", f"runner {name} {address}", address) for name, address in addresses.items())
        )
        findings = [finding for each in found for finding in each]
        if records is not None and listed is not None:
            findings += [_registration(name, records.get(name), seen.get(name)) for name in sorted(addresses)]
        return findings

    def _agreement(self) -> list[Finding]:
        return [
            *_agree("version", {"this command": VERSION, **self._versions}, "finish the upgrade"),
            *_agree("catalog", self._catalogs, "give every service the same models.yaml"),
        ]


def _availability(models: Mapping[str, router_pb2.ModelAvailability]) -> list[Finding]:
    fix = "start a runner of its tier, or remove it from the catalog"
    findings = [
        ok("models", name, f"available, {counted(entry.runners, 'runner')}")
        if entry.available
        else warning("models", name, "no runner serves it, so requests get status 503", fix)
        for name, entry in sorted(models.items())
    ]
    if not any(entry.available for entry in models.values()):
        findings.append(
            failed("models", "all models", "none is available", "start runners, and see their health checks")
        )
    return findings


def _registration(name: str, record: RunnerRecord | None, seen: router_pb2.RunnerView | None) -> Finding:
    if record is None:
        return warning(
            "registration", f"runner {name}", "not registered in etcd", "check that it reaches etcd; read its log"
        )
    if seen is None:
        fix = "check that the router reaches etcd; read the router's log"
        return failed("registration", f"runner {name}", "in etcd but unknown to the router", fix)
    if seen.state == "ejected":
        fix = "see its health check; the router uses it again when it replies"
        return failed("registration", f"runner {name}", "ejected by the router", fix)
    return ok("registration", f"runner {name}", f"{seen.state}, {seen.active} of {seen.slots} slots busy")


def _agree(check: str, values: Mapping[str, str], fix: str) -> list[Finding]:
    """Returns one finding: whether all say the same."""
    if not values:
        return []
    if len(set(values.values())) == 1:
        return [ok(check, "all services", f"the same everywhere: {next(iter(values.values()))}")]
    return [failed(check, "all services", ", ".join(f"{who}: {what}" for who, what in values.items()), fix)]
