"""Which processes make a mesh on one machine, and what each is told. Nothing here starts anything."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.cli.etcd_command import etcd_command
from services.cli.ports import HOST
from services.cli.state import StateDirectory
from services.common.catalog import Model

SERVICES = ("auth", "billing", "router", "runner", "edge")
# Requests first, then those who answer them, then the ledger; etcd last, so that everyone can still deregister.
STOP_ORDER = ("edge", "runner", "router", "billing", "auth", "etcd")
# One for each gRPC service, one for each service's metrics, two for etcd.
PORTS_NEEDED = 4 + len(SERVICES) + 2
# How long answers that are being streamed may go on after Ctrl-C, in seconds.
DRAIN_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the user chose for this start."""

    engine: str
    slots: int
    catalog_file: Path
    # What the runner serves: the models of the first model's tier.
    models: tuple[Model, ...]


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process of the mesh."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    # Answers 200 once the process serves.
    ready_url: str
    metrics_url: str
    # Run to its end before the first start: the migration of the database.
    preparation: tuple[str, ...] = ()
    # Whether its warnings are shown on the terminal.
    warnings_matter: bool = True


@dataclass(frozen=True)
class Addresses:
    """The host:port of everything in the mesh."""

    edge: str
    auth: str
    billing: str
    router: str
    runner: str
    etcd: str
    etcd_peer: str
    # Of each service's metrics and health, by service.
    admin: Mapping[str, str]


def assign_addresses(edge_port: int, ports: Sequence[int]) -> Addresses:
    """Gives each listener one of the `PORTS_NEEDED` ports."""
    auth, billing, router, runner, etcd, etcd_peer, *admin = (f"{HOST}:{port}" for port in ports)
    return Addresses(
        edge=f"{HOST}:{edge_port}",
        auth=auth,
        billing=billing,
        router=router,
        runner=runner,
        etcd=etcd,
        etcd_peer=etcd_peer,
        admin=dict(zip(SERVICES, admin, strict=True)),
    )


def plan(
    choices: Choices, addresses: Addresses, state: StateDirectory, etcd_program: Path, environ: Mapping[str, str]
) -> list[Process]:
    """Returns the processes. `environ` is the user's: it may tune any setting that is not decided here."""
    etcd = Process(
        name="etcd",
        command=etcd_command(etcd_program, state.etcd_data, addresses.etcd, addresses.etcd_peer),
        environment={name: value for name, value in environ.items() if not name.startswith("ETCD_")},
        ready_url=f"http://{addresses.etcd}/health",
        metrics_url=f"http://{addresses.etcd}/metrics",
        # It warns of what is right on a single machine, such as tokens without a certificate.
        warnings_matter=False,
    )
    return [etcd, *(_service(name, choices, addresses, state, environ) for name in SERVICES)]


def _service(
    name: str, choices: Choices, addresses: Addresses, state: StateDirectory, environ: Mapping[str, str]
) -> Process:
    admin = addresses.admin[name]
    chosen = {
        "LISTEN": getattr(addresses, name),
        "ADMIN_LISTEN": admin,
        "CATALOG_FILE": str(choices.catalog_file),
        # The terminal shows them in its own way.
        "LOG_FORMAT": "json",
        # Everything is on the loopback interface, and nobody else's certificates fit it.
        "TLS_CA_FILE": "",
        "TLS_CERT_FILE": "",
        "TLS_KEY_FILE": "",
        **_specific(name, choices, addresses),
    }
    defaults = {"DRAIN_SECONDS": str(DRAIN_SECONDS)}
    if name in {"auth", "billing"}:
        defaults["DATABASE_URL"] = state.database_url(name)
    return Process(
        name=name,
        command=_python("services." + name),
        environment={**_prefixed(name, defaults), **environ, **_prefixed(name, chosen)},
        ready_url=f"http://{admin}/readyz",
        metrics_url=f"http://{admin}/metrics",
        preparation=_python(f"services.{name}.migrate") if "DATABASE_URL" in defaults else (),
    )


def _specific(name: str, choices: Choices, addresses: Addresses) -> dict[str, str]:
    """Returns the settings that only this service has."""
    if name == "edge":
        return {
            "AUTH_ADDRESSES": addresses.auth,
            "BILLING_ADDRESSES": addresses.billing,
            "ROUTER_ADDRESSES": addresses.router,
        }
    if name == "router":
        return {"ETCD_ENDPOINTS": addresses.etcd}
    if name == "runner":
        return {
            "ETCD_ENDPOINTS": addresses.etcd,
            "ENGINE": choices.engine,
            "SLOTS": str(choices.slots),
            "TIER": choices.models[0].tier,
            # The engine must hold the longest conversation that is sold.
            "CONTEXT": str(max(model.context for model in choices.models)),
        }
    return {}


def _python(module: str) -> tuple[str, ...]:
    # -P: a folder named "services" where the user stands must not be taken for ours.
    return (sys.executable, "-P", "-m", module)


def _prefixed(service: str, settings: Mapping[str, str]) -> dict[str, str]:
    return {f"TIERMESH_{service.upper()}_{name}": value for name, value in settings.items()}
