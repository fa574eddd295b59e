"""Which processes make a mesh on one machine, and what each is told. Nothing here starts anything."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.cli.chain import dollar
from services.cli.chain.local_chain import LocalChain
from services.cli.local.engines import LocalRunner
from services.cli.local.ports import HOST, LOCALHOST
from services.cli.local.scripted import SETTINGS
from services.cli.state import StateDirectory, certificate_files
from services.common.etcd import ROOT
from services.common.settings import TlsSettings

# The services of which there is always one; runners are named by their tiers.
SERVICES = ("auth", "billing", "router", "edge")
CONSOLE = "console"
OPERATOR_CONSOLE = "operator_console"
# What people open in a browser.
SITES = (CONSOLE, OPERATOR_CONSOLE)
# The local chain, and what watches it. They are there only if they are asked for.
CHAIN = "chain"
PAYMENTS = "payments"
# The modules of services that are not called like them.
_MODULES = {OPERATOR_CONSOLE: "services.console.operators"}
# How long answers that are being streamed may go on after Ctrl-C, in seconds.
DRAIN_SECONDS = 10


def etcd_command(
    program: Path, data: Path, *, client_address: str, peer_address: str, metrics_address: str, tls: TlsSettings
) -> tuple[str, ...]:
    """Returns the command line of a cluster of one; with `tls`, it serves only who has a certificate."""
    scheme = "https" if tls.enabled else "http"
    client, peer = f"{scheme}://{client_address}", f"{scheme}://{peer_address}"
    options = {
        "--name": "local",
        "--data-dir": str(data),
        "--listen-client-urls": client,
        "--advertise-client-urls": client,
        "--listen-peer-urls": peer,
        "--initial-advertise-peer-urls": peer,
        # Whoever looks after it has no certificate.
        "--listen-metrics-urls": f"http://{metrics_address}",
        "--initial-cluster": f"local={peer}",
        # A cluster of one elects itself; a short election makes a short start. Heartbeats are most of what an idle etcd
        # does, and there have to be five in an election.
        "--heartbeat-interval": "40",
        "--election-timeout": "200",
        # It holds only what runners register anew by themselves: waiting for the disk would protect nothing.
        "--unsafe-no-fsync": "true",
        # Its JSON gateway would take writes from any web page that a browser on this machine shows.
        "--enable-grpc-gateway": "false",
        # A page that gives a name of its own to the loopback address is refused.
        "--host-whitelist": HOST,
        # The password is random, so that a slow hash would protect nothing.
        "--bcrypt-cost": "4",
        "--log-level": "warn",
        **(_tls_options(tls) if tls.enabled else {}),
    }
    return (str(program), *(f"{name}={value}" for name, value in options.items()))


def _tls_options(tls: TlsSettings) -> dict[str, str]:
    return {
        f"--{prefix}{name}": value
        for prefix in ("", "peer-")
        for name, value in {
            "cert-file": tls.cert_file,
            "key-file": tls.key_file,
            "trusted-ca-file": tls.ca_file,
            "client-cert-auth": "true",
        }.items()
    }


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the user chose for this start."""

    catalog_file: Path
    runners: tuple[LocalRunner, ...]
    # What the simulated engine answers, if it answers by a script.
    script: Path | None = None
    # Where the certificates of all parts are, for mutual TLS between them.
    certificates: Path | None = None
    # What etcd demands where there are no certificates, of everybody on this machine.
    etcd_password: str = field(default="", repr=False)
    # The keys that sign receipts; empty if none are signed.
    receipt_keys: str = field(default="", repr=False)
    # Whether there are web consoles, for owners and for operators.
    console: bool = True
    # The local chain, if there is one.
    chain: LocalChain | None = None

    @property
    def services(self) -> tuple[str, ...]:
        """The names of all processes but etcd and the chain."""
        return (*self.control_services, *(runner.name for runner in self.runners))

    @property
    def control_services(self) -> tuple[str, ...]:
        """The names of the processes of which there is one."""
        return (*SERVICES, *(SITES if self.console else ()), *((PAYMENTS,) if self.chain else ()))

    def ports_needed(self, chosen: Collection[str]) -> int:
        """Two for each process, its own and that of its metrics, etcd's included, and one more for etcd's peers.

        The chain needs one. Those of the services in `chosen` have their own already.
        """
        return 2 * (len(self.services) + 1) + 1 - len(chosen) + (1 if self.chain else 0)

    def tls(self, part: str) -> TlsSettings:
        """Returns the certificate files of one part of the mesh."""
        return certificate_files(self.certificates / part) if self.certificates else TlsSettings()


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process of the mesh."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    # Answers 200 once the process serves.
    ready_url: str
    # Empty if it has none.
    metrics_url: str
    # What is sent to `ready_url`, of JSON; without it, nothing is sent.
    ready_body: str = ""
    # What is lost when the process dies, which is not started again then.
    irreplaceable: str = ""
    # Run to its end before the first start: the migration of the database.
    preparation: tuple[str, ...] = ()
    # Whether its warnings are shown on the terminal.
    warnings_matter: bool = True


@dataclass(frozen=True)
class Addresses:
    """The host:port of everything in the mesh."""

    # Of each service and of etcd, by name.
    listen: Mapping[str, str]
    etcd_peer: str
    # Of each service's metrics and health, and of etcd's, by name.
    admin: Mapping[str, str]
    # Empty if there is none.
    chain: str = ""


def assign_addresses(services: Sequence[str], chosen: Mapping[str, int], ports: Sequence[int]) -> Addresses:
    """Gives each listener one of the ports, of which there are as many as `Choices.ports_needed` says.

    `chosen` has the ports that people have named, of the services that they open themselves.
    """
    free = (f"{HOST}:{port}" for port in ports)
    listen = {name: f"{HOST}:{chosen[name]}" if name in chosen else next(free) for name in (*services, "etcd")}
    etcd_peer, chain = next(free), next(free) if PAYMENTS in services else ""
    return Addresses(listen=listen, etcd_peer=etcd_peer, admin=dict(zip(listen, free, strict=True)), chain=chain)


def plan(
    choices: Choices, addresses: Addresses, state: StateDirectory, etcd_program: Path, environ: Mapping[str, str]
) -> list[Process]:
    """Returns the processes. `environ` is the user's: it may tune any setting that is not decided here."""
    etcd = Process(
        name="etcd",
        command=etcd_command(
            etcd_program,
            state.etcd_data,
            client_address=addresses.listen["etcd"],
            peer_address=addresses.etcd_peer,
            metrics_address=addresses.admin["etcd"],
            tls=choices.tls("etcd"),
        ),
        environment={name: value for name, value in environ.items() if not name.startswith("ETCD_")},
        ready_url=f"http://{addresses.admin['etcd']}/health",
        metrics_url=f"http://{addresses.admin['etcd']}/metrics",
        # It warns of what is right on a single machine, such as tokens without a certificate.
        warnings_matter=False,
    )
    services = [
        _service(name, name, _specific(name, addresses, choices.chain), {}, choices, addresses, state, environ)
        for name in choices.control_services
    ]
    runners = [
        _service(
            runner.name,
            "runner",
            _of_runner(runner, addresses, environ, choices.script),
            _runner_defaults(runner, choices.script),
            choices,
            addresses,
            state,
            environ,
        )
        for runner in choices.runners
    ]
    return [etcd, *([_chain(choices.chain, addresses.chain)] if choices.chain else []), *services, *runners]


def _chain(chain: LocalChain, address: str) -> Process:
    host, _, port = address.rpartition(":")
    return Process(
        name=CHAIN,
        command=chain.command(host, port),
        # It keeps files of its own below the home directory.
        environment={"HOME": str(chain.files.directory)},
        ready_url=f"http://{address}/",
        ready_body='{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}',
        metrics_url="",
        irreplaceable="the chain is lost. Stop the mesh and start it again for a new one; requests are still served",
    )


def _service(
    name: str,
    service: str,
    specific: Mapping[str, str],
    tunable: Mapping[str, str],
    choices: Choices,
    addresses: Addresses,
    state: StateDirectory,
    environ: Mapping[str, str],
) -> Process:
    admin = addresses.admin[name]
    chosen = {
        "LISTEN": addresses.listen[name],
        "ADMIN_LISTEN": admin,
        "CATALOG_FILE": str(choices.catalog_file),
        # The terminal shows them in its own way.
        "LOG_FORMAT": "json",
        # Nobody else's certificates fit the loopback interface.
        **_tls_settings("TLS", choices.tls(service.replace("_", "-"))),
        "TLS_DOMAIN": "",
        **(_etcd_settings(service, choices) if "ETCD_ENDPOINTS" in specific else {}),
        **specific,
    }
    defaults = {"DRAIN_SECONDS": str(DRAIN_SECONDS), **tunable}
    if service in {"auth", "billing"}:
        defaults["DATABASE_URL"] = state.database_url(service)
    if service == "edge" and choices.receipt_keys:
        defaults["RECEIPT_KEYS"] = choices.receipt_keys
    if service == CONSOLE:
        # Nobody else reaches it here, and it should be seen at work.
        defaults |= {"REGISTRATION": "open", "REGISTRATION_CREDITS": "1000"}
    if service == PAYMENTS:
        # A block is final at once here, so a deposit counts at once.
        defaults |= {"POLL_SECONDS": "0.5", "SECOND_POLL_SECONDS": "5", "SECOND_DELAY_SECONDS": "60"}
        defaults |= {"RECEIPT_POLL_SECONDS": "0.1", "RECONCILE_SECONDS": "2"}
    return Process(
        name=name,
        command=_python(_MODULES.get(service, f"services.{service}")),
        environment={**_prefixed(service, defaults), **environ, **_prefixed(service, chosen)},
        ready_url=f"http://{admin}/readyz",
        metrics_url=f"http://{admin}/metrics",
        preparation=_python(f"services.{name}.migrate") if "DATABASE_URL" in defaults else (),
    )


def _etcd_settings(service: str, choices: Choices) -> dict[str, str]:
    """Returns who a service is to etcd."""
    password = {"ETCD_USERNAME": ROOT, "ETCD_PASSWORD": choices.etcd_password} if choices.etcd_password else {}
    return _tls_settings("ETCD", choices.tls(service)) | password


def _specific(name: str, addresses: Addresses, chain: LocalChain | None) -> dict[str, str]:
    """Returns the settings that only this service has."""
    if name == PAYMENTS and chain is not None:
        return {
            "BILLING_ADDRESSES": addresses.listen["billing"],
            "RPC_URL": f"http://{addresses.chain}",
            "SECOND_RPC_URL": "",
            "CHAIN_ID": str(chain.chain_id),
            "TOKEN": dollar.ADDRESS,
            "TOKEN_NAME": dollar.NAME,
            "XPUB": chain.xpub,
            "X402_PAY_TO": chain.treasury,
            "RELAYER_KEY": chain.relayer_key,
        }
    if name in {"edge", *SITES}:
        found = {f"{other.upper()}_ADDRESSES": addresses.listen[other] for other in ("auth", "billing", "router")}
        if name in SITES:
            found["PUBLIC_URL"] = site_url(addresses, name)
        if name == CONSOLE:
            api_url = f"http://{addresses.listen['edge']}/v1"
            found |= {"API_URL": api_url, "EDGE_URL": api_url}
        if name in {"edge", CONSOLE} and chain is not None:
            found["PAYMENTS_ADDRESSES"] = addresses.listen[PAYMENTS]
        return found
    return {"ETCD_ENDPOINTS": addresses.listen["etcd"]} if name == "router" else {}


def site_url(addresses: Addresses, name: str) -> str:
    """Returns where people open one of SITES, "" if it is not there; by name, because some things need one."""
    return f"http://{LOCALHOST}:{addresses.listen[name].rpartition(':')[2]}" if name in addresses.listen else ""


def _runner_defaults(runner: LocalRunner, script: Path | None) -> Mapping[str, str]:
    """Returns the settings of a runner that the user may tune."""
    if runner.engine == "simulated" and script is not None:
        return SETTINGS
    return {"THREADS": str(runner.threads)}


def _of_runner(
    runner: LocalRunner, addresses: Addresses, environ: Mapping[str, str], script: Path | None
) -> dict[str, str]:
    settings = {
        "ETCD_ENDPOINTS": addresses.listen["etcd"],
        "ENGINE": runner.engine,
        "SLOTS": str(runner.slots),
        "TIER": runner.tier,
    }
    if runner.context:
        settings["CONTEXT"] = str(runner.context)
    if runner.engine == "simulated" and (wished := environ.get("TIERMESH_RUNNER_CONTEXT")):
        # A longer context costs this engine nothing.
        settings["CONTEXT"] = wished
    if runner.engine == "simulated" and script is not None:
        settings["SIMULATED_SCRIPT"] = str(script)
    if runner.own is not None:
        settings |= runner.own.settings
    if runner.models[0].kind != "chat":
        # A model file that the user names is one that chats.
        settings["MODEL_PATH"] = ""
    return settings


def _tls_settings(prefix: str, tls: TlsSettings) -> dict[str, str]:
    return {f"{prefix}_CA_FILE": tls.ca_file, f"{prefix}_CERT_FILE": tls.cert_file, f"{prefix}_KEY_FILE": tls.key_file}


def stop_order(names: Iterable[str]) -> list[str]:
    """Sorts processes by when they are stopped: etcd last, so that everyone can still deregister.

    Requests come first, then those who answer them, then the ledger. The chain ends after payments, so that all that
    billing has read of it is saved.
    """
    stages = {"edge": 0, CONSOLE: 0, OPERATOR_CONSOLE: 0, "router": 2, CHAIN: 2, "billing": 3, "auth": 4, "etcd": 5}
    return sorted(names, key=lambda name: stages.get(name, 1))


def _python(module: str) -> tuple[str, ...]:
    # -P: a folder named "services" where the user stands must not be taken for ours.
    return (sys.executable, "-P", "-m", module)


def _prefixed(service: str, settings: Mapping[str, str]) -> dict[str, str]:
    return {f"TIERMESH_{service.upper()}_{name}": value for name, value in settings.items()}
