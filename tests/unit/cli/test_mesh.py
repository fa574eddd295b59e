from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from services.auth.settings import AuthSettings
from services.billing.settings import BillingSettings
from services.cli.mesh import PORTS_NEEDED, SERVICES, STOP_ORDER, Choices, Process, assign_addresses, plan
from services.cli.state import StateDirectory
from services.common.catalog import load_catalog
from services.common.settings import DEFAULT_CATALOG, ServiceSettings, load_settings
from services.edge.settings import EdgeSettings
from services.router.settings import RouterSettings
from services.runner.settings import RunnerSettings

KINDS: dict[str, type[ServiceSettings]] = {
    "auth": AuthSettings,
    "billing": BillingSettings,
    "router": RouterSettings,
    "runner": RunnerSettings,
    "edge": EdgeSettings,
}


def processes(environ: Mapping[str, str] | None = None, directory: str = "/state") -> dict[str, Process]:
    catalog = load_catalog(DEFAULT_CATALOG)
    choices = Choices(
        engine="simulated", slots=3, catalog_file=DEFAULT_CATALOG, models=tuple(catalog.tier(catalog.models[0].tier))
    )
    addresses = assign_addresses(8000, range(21_000, 21_000 + PORTS_NEEDED))
    found = plan(choices, addresses, StateDirectory(directory), Path("/bin/etcd"), environ or {})
    return {process.name: process for process in found}


def settings(service: str, environ: Mapping[str, str] | None = None) -> ServiceSettings:
    return load_settings(KINDS[service], service, processes(environ)[service].environment)


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_understands_its_environment(service: str) -> None:
    assert settings(service).log_format == "json"


def test_everything_is_started_and_stopped() -> None:
    assert set(processes()) == set(STOP_ORDER) == {"etcd", *SERVICES}


def test_no_two_listeners_share_a_port() -> None:
    listeners = [getattr(settings(service), name) for service in SERVICES for name in ("listen", "admin_listen")]
    etcd = [part for part in processes()["etcd"].command if "--listen-" in part]
    ports = [address.rpartition(":")[2] for address in (*listeners, *etcd)]
    assert len(set(ports)) == len(ports) == PORTS_NEEDED + 1


def test_everyone_finds_the_others() -> None:
    edge, router, runner = settings("edge"), settings("router"), settings("runner")
    assert isinstance(edge, EdgeSettings)
    assert isinstance(router, RouterSettings)
    assert isinstance(runner, RunnerSettings)
    assert edge.auth_addresses == settings("auth").listen
    assert edge.billing_addresses == settings("billing").listen
    assert edge.router_addresses == router.listen
    assert f"--listen-client-urls=http://{router.etcd_endpoints}" in processes()["etcd"].command
    assert runner.etcd_endpoints == router.etcd_endpoints


def test_the_runner_serves_the_tier_of_the_first_model_in_full_length() -> None:
    runner = settings("runner")
    assert isinstance(runner, RunnerSettings)
    assert (runner.tier, runner.context, runner.slots, runner.engine) == ("pro", 4096, 3, "simulated")


def test_databases_are_in_the_state_directory_and_migrated_first() -> None:
    for name in ("auth", "billing"):
        process = processes()[name]
        assert process.environment[f"TIERMESH_{name.upper()}_DATABASE_URL"] == f"sqlite:////state/{name}.db"
        assert process.preparation[-1] == f"services.{name}.migrate"


def test_the_user_may_tune_what_is_not_decided() -> None:
    tuned = {"TIERMESH_RUNNER_SIMULATED_SPEED": "5", "TIERMESH_BILLING_DATABASE_URL": "postgresql://db/x"}
    runner, billing = settings("runner", tuned), settings("billing", tuned)
    assert isinstance(runner, RunnerSettings)
    assert isinstance(billing, BillingSettings)
    assert runner.simulated_speed == 5
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
