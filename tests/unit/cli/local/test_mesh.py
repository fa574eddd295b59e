from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from services.auth.settings import AuthSettings
from services.billing.settings import BillingSettings
from services.cli.chain import dollar
from services.cli.chain.local_chain import ChainFiles, LocalChain
from services.cli.local.engines import choose_runners
from services.cli.local.mesh import Choices, Process, assign_addresses, plan, stop_order
from services.cli.state import StateDirectory
from services.common.catalog import load_catalog
from services.common.settings import DEFAULT_CATALOG, ServiceSettings, load_settings
from services.console.operators.settings import OperatorConsoleSettings
from services.console.settings import ConsoleSettings
from services.edge.settings import EdgeSettings
from services.payments.settings import PaymentsSettings
from services.router.settings import RouterSettings
from services.runner.settings import RunnerSettings

KINDS: dict[str, type[ServiceSettings]] = {
    "auth": AuthSettings,
    "billing": BillingSettings,
    "router": RouterSettings,
    "runner": RunnerSettings,
    "edge": EdgeSettings,
    "console": ConsoleSettings,
    "operator_console": OperatorConsoleSettings,
    "payments": PaymentsSettings,
}


SERVICES = ("auth", "billing", "router", "edge", "console", "operator_console", "runner-pro", "runner-max")
CHOSEN = {"edge": 8000, "console": 8001, "operator_console": 8002}


def choices(engine: str = "simulated", script: Path | None = None) -> Choices:
    catalog = load_catalog(DEFAULT_CATALOG)
    runners = choose_runners(catalog, engine=engine, slots=3, tiers=("pro", "max"), cores=6)
    return Choices(catalog_file=DEFAULT_CATALOG, runners=runners, script=script)


def processes(
    environ: Mapping[str, str] | None = None, directory: str = "/state", chosen: Choices | None = None
) -> dict[str, Process]:
    chosen = chosen or choices()
    addresses = assign_addresses(chosen.services, CHOSEN, range(21_000, 21_000 + chosen.ports_needed(CHOSEN)))
    found = plan(chosen, addresses, StateDirectory(directory), Path("/bin/etcd"), environ or {})
    return {process.name: process for process in found}


def settings(service: str, environ: Mapping[str, str] | None = None, chosen: Choices | None = None) -> ServiceSettings:
    kind = service.partition("-")[0]
    return load_settings(KINDS[kind], kind, processes(environ, chosen=chosen)[service].environment)


def runner(environ: Mapping[str, str] | None = None, chosen: Choices | None = None) -> RunnerSettings:
    found = settings("runner-pro", environ, chosen)
    assert isinstance(found, RunnerSettings)
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_understands_its_environment(service: str) -> None:
    assert settings(service).log_format == "json"


def test_everything_is_started_and_stopped() -> None:
    assert set(processes()) == {"etcd", *SERVICES}
    order = stop_order(processes())
    sites = ["edge", "console", "operator_console"]
    assert order == [*sites, "runner-pro", "runner-max", "router", "billing", "auth", "etcd"]


def with_chain(*, goes_on: bool = False) -> Choices:
    files = ChainFiles(Path("/state/chain"))
    chain = LocalChain(
        program=Path("/anvil"),
        chain_id=313_370_007,
        xpub="xpub7",
        treasury="0x" + 20 * "7e",
        relayer_key="0x" + 32 * "5a",
        files=files,
        goes_on=goes_on,
    )
    return replace(choices(), chain=chain)


def test_a_chain_is_there_only_if_it_is_asked_for_and_ends_after_what_reads_it() -> None:
    assert not {"chain", "payments"} & processes().keys()
    found = processes(chosen=with_chain())
    assert found.keys() - processes().keys() == {"chain", "payments"}
    order = stop_order(found)
    assert order.index("payments") < order.index("chain") < order.index("billing")
    assert found["chain"].irreplaceable
    assert not found["payments"].irreplaceable


def test_payments_watches_the_chain_beside_it_and_nobody_else_listens_there() -> None:
    chosen = with_chain()
    command = processes(chosen=chosen)["chain"].command
    url = f"http://127.0.0.1:{command[command.index('--port') + 1]}"
    payments = settings("payments", chosen=chosen)
    assert isinstance(payments, PaymentsSettings)
    assert (payments.rpc_url, payments.chain_id, payments.token, payments.xpub) == (
        *(url, 313_370_007, dollar.ADDRESS, "xpub7"),
    )
    assert payments.billing_addresses == settings("billing", chosen=chosen).listen
    console = settings("console", chosen=chosen)
    assert isinstance(console, ConsoleSettings)
    edge = settings("edge", chosen=chosen)
    assert isinstance(edge, EdgeSettings)
    # Wallets can pay for requests, too.
    assert console.payments_addresses == edge.payments_addresses == payments.listen
    assert (payments.x402_pay_to, payments.relayer_key) == ("0x" + 20 * "7e", "0x" + 32 * "5a")
    without = settings("edge")
    assert isinstance(without, EdgeSettings)
    assert not without.payments_addresses
    assert (command[command.index("--host") + 1], command[command.index("--chain-id") + 1]) == (
        *("127.0.0.1", "313370007"),
    )
    names = [*SERVICES, "payments"]
    listeners = [
        getattr(settings(name, chosen=chosen), field) for name in names for field in ("listen", "admin_listen")
    ]
    assert url.removeprefix("http://") not in listeners
    assert len(set(listeners)) == 2 * len(names)
    # Settings of a real chain in the user's environment are not for this one.
    real = {
        "TIERMESH_PAYMENTS_RPC_URL": "https://provider.example",
        "TIERMESH_PAYMENTS_SECOND_RPC_URL": "https://b.example",
    }
    tuned = settings("payments", {**real, "TIERMESH_PAYMENTS_POLL_SECONDS": "9"}, chosen)
    assert isinstance(tuned, PaymentsSettings)
    assert (tuned.rpc_url, tuned.second_rpc_url, tuned.poll_seconds) == (url, "", 9)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_chain_is_read_only_if_it_goes_on_and_always_saved(goes_on: bool) -> None:
    command = processes(chosen=with_chain(goes_on=goes_on))["chain"].command
    assert ("/state/chain/loaded.json" in command) == goes_on
    assert command[command.index("--dump-state") + 1] == "/state/chain/saved.json"


def test_no_two_listeners_share_a_port() -> None:
    listeners = [getattr(settings(service), name) for service in SERVICES for name in ("listen", "admin_listen")]
    etcd = [part for part in processes()["etcd"].command if "--listen-" in part]
    ports = [address.rpartition(":")[2] for address in (*listeners, *etcd)]
    assert len(set(ports)) == len(ports) == choices().ports_needed(CHOSEN) + len(CHOSEN)


@pytest.mark.parametrize("named", [part for size in range(4) for part in combinations(CHOSEN, size)])
@pytest.mark.parametrize("chain", [False, True])
def test_whichever_ports_are_named_there_is_one_for_each_other_listener(named: tuple[str, ...], chain: bool) -> None:
    chosen, all_choices = {name: CHOSEN[name] for name in named}, with_chain() if chain else choices()
    free = range(21_000, 21_000 + all_choices.ports_needed(chosen))
    addresses = assign_addresses(all_choices.services, chosen, free)
    listeners = [*addresses.listen.values(), *addresses.admin.values(), addresses.etcd_peer]
    ports = {int(address.rpartition(":")[2]) for address in [*listeners, *([addresses.chain] if chain else [])]}
    assert ports == {*free, *chosen.values()}
    assert len(ports) == len(listeners) + chain
    for name, port in chosen.items():
        assert addresses.listen[name] == f"127.0.0.1:{port}"


def test_everyone_finds_the_others() -> None:
    edge, router, runner = settings("edge"), settings("router"), settings("runner-pro")
    assert isinstance(edge, EdgeSettings)
    assert isinstance(router, RouterSettings)
    assert isinstance(runner, RunnerSettings)
    assert edge.auth_addresses == settings("auth").listen
    assert edge.billing_addresses == settings("billing").listen
    assert edge.router_addresses == router.listen
    console = settings("console")
    assert isinstance(console, ConsoleSettings)
    assert (console.auth_addresses, console.billing_addresses, console.router_addresses) == (
        edge.auth_addresses,
        edge.billing_addresses,
        edge.router_addresses,
    )
    assert (console.public_url, console.api_url) == ("http://localhost:8001", "http://127.0.0.1:8000/v1")
    assert console.edge_url == console.api_url
    assert console.payments_addresses == ""
    assert (console.registration, console.registration_credits) == ("open", 1000)
    operators = settings("operator_console")
    assert isinstance(operators, OperatorConsoleSettings)
    assert operators.auth_addresses == console.auth_addresses
    assert operators.public_url == "http://localhost:8002"
    closed = settings("console", {"TIERMESH_CONSOLE_REGISTRATION": "off"})
    assert isinstance(closed, ConsoleSettings)
    assert closed.registration == "off"
    assert f"--listen-client-urls=http://{router.etcd_endpoints}" in processes()["etcd"].command
    assert runner.etcd_endpoints == router.etcd_endpoints


def test_each_tier_has_a_runner_that_holds_its_longest_conversation() -> None:
    for name, expected in (("runner-pro", ("pro", 8192, 3)), ("runner-max", ("max", 8192, 2))):
        runner = settings(name)
        assert isinstance(runner, RunnerSettings)
        assert (runner.tier, runner.context, runner.slots) == expected
        assert runner.engine == "simulated"


def test_runners_of_llama_cpp_share_the_cores_unless_the_user_says_otherwise() -> None:
    assert runner().threads == 1
    assert runner(chosen=choices("llamacpp")).threads == 3
    assert runner({"TIERMESH_RUNNER_THREADS": "5"}, choices("llamacpp")).threads == 5


def test_a_script_is_answered_at_the_pace_of_a_model_unless_the_user_says_otherwise() -> None:
    scripted = choices(script=Path("/weather.yaml"))
    found = runner(chosen=scripted)
    assert found.simulated_script == "/weather.yaml"
    assert found.simulated_prefill_speed > found.simulated_speed > 0
    assert runner({"TIERMESH_RUNNER_SIMULATED_SPEED": "0"}, scripted).simulated_speed == 0
    assert (runner().simulated_script, runner().simulated_speed) == ("", 0)


def test_databases_are_in_the_state_directory_and_migrated_first() -> None:
    for name in ("auth", "billing"):
        process = processes()[name]
        assert process.environment[f"TIERMESH_{name.upper()}_DATABASE_URL"] == f"sqlite:////state/{name}.db"
        assert process.preparation[-1] == f"services.{name}.migrate"


def test_the_user_may_tune_what_is_not_decided() -> None:
    tuned = {
        "TIERMESH_RUNNER_SIMULATED_SPEED": "5",
        "TIERMESH_RUNNER_CONTEXT": "131072",
        "TIERMESH_BILLING_DATABASE_URL": "postgresql://db/x",
    }
    runner, billing = settings("runner-max", tuned), settings("billing", tuned)
    assert isinstance(runner, RunnerSettings)
    assert isinstance(billing, BillingSettings)
    assert (runner.simulated_speed, runner.context) == (5, 131072)
    assert billing.database_url == "postgresql://db/x"


def test_the_user_cannot_break_the_wiring_by_accident() -> None:
    stray = {
        "TIERMESH_AUTH_LISTEN": "elsewhere:2",
        "TIERMESH_AUTH_TLS_CA_FILE": "/ca.pem",
        "ETCD_DATA_DIR": "/elsewhere",
    }
    auth = settings("auth", stray)
    assert auth.listen.startswith("127.0.0.1:")
    assert not auth.tls.enabled
    assert "ETCD_DATA_DIR" not in processes(stray)["etcd"].environment


def test_a_folder_named_services_where_the_user_stands_is_not_run() -> None:
    assert all("-P" in processes()[name].command for name in SERVICES)
