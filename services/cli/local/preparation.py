"""Everything `tiermesh up` decides and checks before it starts a process, so that mistakes are found at once."""

from __future__ import annotations

import os
import random
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.cli.chain import dollar
from services.cli.chain.local_chain import prepare_chain
from services.cli.dev_certificates import ensure_dev_certificates
from services.cli.errors import CliError
from services.cli.local.engines import available_cores, choose_runners
from services.cli.local.mesh import (
    CONSOLE,
    OPERATOR_CONSOLE,
    PAYMENTS,
    SITES,
    Addresses,
    Choices,
    Process,
    assign_addresses,
    plan,
    site_url,
)
from services.cli.local.ports import free_ports, wait_until_free
from services.cli.local.scripted import with_long_contexts, write_catalog
from services.cli.local.terminal import say
from services.cli.models.machine import machine_memory
from services.cli.models.own_catalog import own_catalog, without_kinds
from services.cli.models.own_model import OwnModel, own_models
from services.cli.models.upstream import Upstream, upstream_model
from services.cli.receipts.key_file import local_receipt_keys
from services.cli.state import RunningChain, RunningMesh, StateDirectory
from services.common.catalog import Catalog, CatalogError, Model, load_catalog
from services.common.etcd.binary import EtcdBinaryError, EtcdProgram, find_etcd
from services.common.settings import TlsSettings

# What speaks HTTP and not gRPC.
_HTTP = ("edge", *SITES)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A start that has been decided and only needs to be done."""

    choices: Choices
    catalog: Catalog
    addresses: Addresses
    processes: list[Process]
    state: StateDirectory
    etcd: EtcdProgram

    @property
    def base_url(self) -> str:
        """The base URL for OpenAI's clients."""
        return f"http://{self.addresses.listen['edge']}/v1"

    @property
    def console_url(self) -> str:
        """Where people open the console; empty if there is none."""
        return site_url(self.addresses, CONSOLE)

    @property
    def operator_console_url(self) -> str:
        """Where operators open their console; empty if there is none."""
        return site_url(self.addresses, OPERATOR_CONSOLE)

    @property
    def chain(self) -> RunningChain | None:
        """The local chain, if there is one."""
        if self.choices.chain is None:
            return None
        url = f"http://{self.addresses.chain}"
        return RunningChain(url=url, chain_id=self.choices.chain.chain_id, token=dollar.ADDRESS)

    @property
    def models(self) -> list[Model]:
        """What the runners serve."""
        return [model for runner in self.choices.runners for model in runner.models]

    @property
    def model_bytes(self) -> int:
        """How large the user's own model files are."""
        return sum(runner.own.size for runner in self.choices.runners if runner.own)

    @property
    def tls(self) -> TlsSettings:
        """The operator's certificate files."""
        return self.choices.tls("operator")

    def description(self) -> RunningMesh:
        """Returns what the management commands need to know of the mesh that this process runs."""
        return RunningMesh(
            base_url=self.base_url,
            addresses={name: address for name, address in self.addresses.listen.items() if name not in _HTTP},
            metrics={process.name: process.metrics_url for process in self.processes if process.metrics_url},
            catalog_file=str(self.choices.catalog_file),
            tls=self.tls,
            etcd_password=self.choices.etcd_password,
            chain=self.chain,
            pid=os.getpid(),
        )


def read_catalog(path: Path) -> Catalog:
    """Loads the catalog; raises CliError."""
    try:
        return load_catalog(path)
    except CatalogError as error:
        raise CliError(str(error)) from error


def find_etcd_program() -> EtcdProgram:
    """Returns etcd's program; raises CliError with advice."""
    try:
        return find_etcd()
    except EtcdBinaryError as error:
        raise CliError(str(error)) from error


def make_plan(  # noqa: PLR0913 - each is a choice of its own, and only by name
    *,
    port: int,
    console_port: int | None,
    operator_console_port: int,
    engine: str,
    slots: int,
    tiers: Sequence[str],
    catalog_file: Path,
    state: StateDirectory,
    tls: bool = False,
    script: Path | None = None,
    own: Sequence[Path] = (),
    upstream: Upstream | None = None,
    context: int | None = None,
    chain: bool = False,
) -> Plan:
    """Makes the plan; raises CliError, and OSError for a file that cannot be written.

    The state directory must be locked by this process. Port 0 takes a free port; None for the console's means that
    there are no consoles. With model files of the user's `own`, or an `upstream` server, these are sold in place of
    the catalog's models of their kind, with `context` tokens each if that is given. With `chain`, there is a local
    chain.
    """
    catalog = read_catalog(catalog_file)
    if script is not None:
        catalog, catalog_file = with_long_contexts(catalog), state.scripted_catalog
        write_catalog(catalog, catalog_file)
    found: tuple[OwnModel, ...] = ()
    if own or upstream:
        server = upstream.examine() if upstream is not None else None
        others = without_kinds(catalog, {*(("chat",) if own else ()), *((server.kind,) if server else ())})
        taken = [name for model in others for name in (model.id, model.tier)]
        if own:
            found = own_models(own, slots=slots, memory=machine_memory(), context=context, taken=taken)
        if upstream is not None and server is not None:
            taken += [name for model in found for name in (model.id, model.tier)]
            tier = tiers[0] if len(tiers) == 1 and not own else ""
            found += (upstream_model(upstream, server, slots=slots, context=context, tier=tier, taken=taken),)
        catalog, catalog_file = own_catalog(found, others), state.own_catalog
        write_catalog(catalog, catalog_file)
    runners = choose_runners(
        catalog,
        engine=engine,
        slots=slots,
        tiers=tiers,
        cores=available_cores(),
        own=found,
        chat_model=Path(os.environ.get("TIERMESH_RUNNER_MODEL_PATH", "")).name,
    )
    certificates = state.certificates if tls else None
    if certificates:
        ensure_dev_certificates(certificates, optional=() if chain else (PAYMENTS,))
    choices = Choices(
        catalog_file=catalog_file.absolute(),
        runners=runners,
        script=script.absolute() if script else None,
        certificates=certificates,
        etcd_password="" if tls else secrets.token_urlsafe(),
        receipt_keys=local_receipt_keys(state),
        console=console_port is not None,
        chain=prepare_chain(state.chain, say) if chain else None,
    )
    etcd = find_etcd_program()
    wished = {"edge": ("--port", port)}
    if console_port is not None:
        wished |= {
            CONSOLE: ("--console-port", console_port),
            OPERATOR_CONSOLE: ("--operator-console-port", operator_console_port),
        }
    for option, wish in wished.values():
        if wish:
            wait_until_free(wish, option)
    chosen = {name: wish for name, (_, wish) in wished.items() if wish}
    ports = free_ports(choices.ports_needed(chosen), random.Random())  # noqa: S311 - ports are no secret
    addresses = assign_addresses(choices.services, chosen, ports)
    processes = plan(choices, addresses, state, etcd.path, os.environ)
    return Plan(choices=choices, catalog=catalog, addresses=addresses, processes=processes, state=state, etcd=etcd)


def forget_registrations(state: StateDirectory) -> None:
    """Empties etcd, which holds only registrations of runners that are gone; raises OSError."""
    if state.etcd_data.exists():
        shutil.rmtree(state.etcd_data)
