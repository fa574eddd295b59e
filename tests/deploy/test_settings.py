"""Every setting in the manifests and images is one that its service has, and what they name exists."""

from __future__ import annotations

import re
from typing import Any

import click
import msgspec
import pytest

from services.auth.settings import AuthSettings
from services.cli.__main__ import main as command_line
from services.common.settings import EtcdServiceSettings, ServiceSettings, load_settings, split_list
from services.edge.settings import EdgeSettings
from services.payments.settings import PaymentsSettings
from services.router.settings import RouterSettings
from services.runner.settings import RunnerSettings
from tests.deploy.kubectl import ROOT
from tests.deploy.overlays import (
    OVERLAYS,
    SETTINGS,
    WITHOUT_GPUS,
    component,
    environment,
    of_kind,
    overlay,
    pod_labels,
    selects,
    services,
    workloads,
)
from tests.deploy.resources import containers
from tests.support.chain import XPUB

pytestmark = pytest.mark.parametrize("name", [*OVERLAYS, WITHOUT_GPUS])


def test_every_service_is_there_and_its_settings_are_right(name: str) -> None:
    assert {service for service, *_ in services(name)} == SETTINGS.keys()


def test_no_container_has_settings_of_another_service(name: str) -> None:
    for service, _, container, _ in services(name):
        names = [variable for variable in environment(container) if variable.startswith("TIERMESH_")]
        assert all(variable.startswith(f"TIERMESH_{service.upper()}_") for variable in names)


def test_migrations_reach_the_database_of_their_service(name: str) -> None:
    by_service = {service: environment(container) for service, _, container, _ in services(name)}
    found = set()
    for workload in workloads(name):
        for container in containers(workload):
            for argument in container.get("args", ()):
                if match := re.fullmatch(r"services\.(\w+)\.migrate", argument):
                    variable = f"TIERMESH_{match[1].upper()}_DATABASE_URL"
                    assert environment(container) == {variable: by_service[match[1]][variable]}
                    found.add(match[1])
    assert found == {"auth", "billing"}


def test_the_operator_s_variables_are_options_of_the_command_line(name: str) -> None:
    [operator] = [workload for workload in workloads(name) if component(workload) == "operator"]
    [container] = containers(operator)
    # A password is no option: everybody on the machine would see it.
    assert environment(container).keys() <= {*_option_variables(command_line), "TIERMESH_CLI_ETCD_PASSWORD"}


def test_the_operator_s_commands_read_the_catalog_of_the_installation(name: str) -> None:
    [operator] = [workload for workload in workloads(name) if component(workload) == "operator"]
    [container] = containers(operator)
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "catalog"]
    [config_map] = [c for c in of_kind(name, "ConfigMap") if c["metadata"]["name"] == "tiermesh-catalog"]
    folder, _, file = environment(container)["TIERMESH_CLI_CATALOG_FILE"].rpartition("/")
    assert folder == mount["mountPath"]
    assert file in config_map["data"]


def test_ports_are_those_that_the_settings_name(name: str) -> None:
    for _, _, container, settings in services(name):
        ports = {entry["containerPort"] for entry in container["ports"]}
        assert ports == {_port(settings.listen), _port(settings.admin_listen)}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == _port(settings.admin_listen)


def test_addresses_are_services_whose_pods_listen_there(name: str) -> None:
    found = {}
    for service in of_kind(name, "Service"):
        [*pods] = [w for w in workloads(name) if selects({"matchLabels": service["spec"]["selector"]}, pod_labels(w))]
        assert pods, service["metadata"]["name"]
        listening = {p["containerPort"] for pod in pods for c in containers(pod) for p in c.get("ports", ())}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= listening
        found[service["metadata"]["name"]] = {port["port"] for port in service["spec"]["ports"]}
    for address in _addresses(name):
        host, _, port = address.removeprefix("dns:").rpartition(":")
        # A member of a StatefulSet has a name before its Service's.
        assert int(port) in found[host.rpartition(".")[2]], address


def test_batch_streams_reach_every_replica(name: str) -> None:
    headless = {s["metadata"]["name"] for s in of_kind(name, "Service") if s["spec"].get("clusterIP") == "None"}
    [edge] = [settings for _, _, _, settings in services(name) if isinstance(settings, EdgeSettings)]
    for address in (edge.auth_addresses, edge.billing_addresses, edge.router_addresses):
        assert address.startswith("dns:")
        assert address.removeprefix("dns:").partition(":")[0] in headless


def test_a_pod_outlives_the_longest_answer(name: str) -> None:
    [longest] = {s.request_timeout for _, _, _, s in services(name) if isinstance(s, EdgeSettings)}
    for _, workload, container, settings in services(name):
        spec = workload["spec"]["template"]["spec"]
        before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert before + settings.drain_seconds + 5 <= spec["terminationGracePeriodSeconds"]
        if isinstance(settings, EdgeSettings | RunnerSettings):
            assert settings.drain_seconds >= longest


def test_runners_are_reached_by_the_address_of_their_pod(name: str) -> None:
    for _, _, _, settings in services(name):
        if isinstance(settings, RunnerSettings):
            assert settings.advertise == f"10.0.0.1:{_port(settings.listen)}"
            assert settings.id == "pod-0"


def test_mutual_tls_is_on_everywhere_in_production(name: str) -> None:
    for service, workload, container, settings in services(name):
        assert settings.tls.enabled is (name != "laptop")
        files = [value for field, value in _strings(settings) if re.fullmatch(r"(tls|etcd)_(ca|cert|key)_file", field)]
        if name != "laptop":
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            volumes = {v["name"]: v for v in workload["spec"]["template"]["spec"]["volumes"]}
            assert volumes[mounts["/tls"]]["secret"]["secretName"] == f"tiermesh-{service.replace('_', '-')}-tls"
            assert set(files) == {"/tls/ca.crt", "/tls/tls.crt", "/tls/tls.key"}
            assert not isinstance(settings, EtcdServiceSettings) or settings.etcd_tls.enabled
        else:
            assert not any(files)


def test_etcd_without_tls_asks_for_a_password_that_everybody_has_who_calls_it(name: str) -> None:
    called = [settings for _, _, _, settings in services(name) if isinstance(settings, EtcdServiceSettings)]
    expected = ("root", "secret") if name == "laptop" else ("", "")
    assert {(settings.etcd_username, settings.etcd_password) for settings in called} == {expected}
    [operator] = [workload for workload in workloads(name) if component(workload) == "operator"]
    variables = environment(next(containers(operator)))
    assert (
        variables.get("TIERMESH_CLI_ETCD_USERNAME", ""),
        variables.get("TIERMESH_CLI_ETCD_PASSWORD", ""),
    ) == expected


def test_several_replicas_share_what_they_must(name: str) -> None:
    for _, _, _, settings in services(name):
        if isinstance(settings, AuthSettings) and name != "laptop":
            assert settings.rate_limit_url.startswith("redis")
        if isinstance(settings, RouterSettings):
            members = len(split_list(settings.etcd_endpoints))
            assert members == (1 if name == "laptop" else 3)


def test_the_images_settings_are_right_too(name: str) -> None:
    kinds: dict[str, type[ServiceSettings]] = {**SETTINGS, "payments": PaymentsSettings}
    chain = {"RPC_URL": "https://one.example", "CHAIN_ID": "8453", "TOKEN": f"0x{'00' * 20}", "XPUB": XPUB}
    required = {"payments": {f"TIERMESH_PAYMENTS_{field}": value for field, value in chain.items()}}
    for path in sorted((ROOT / "deploy" / "images").glob("*.Dockerfile")):
        given = dict(re.findall(r"\b(TIERMESH_\w+)=(\S+)", path.read_text()))
        assert given
        for variable in given:
            [service, *_] = [each for each in kinds if variable.startswith(f"TIERMESH_{each.upper()}_")]
            load_settings(kinds[service], service, given | required.get(service, {}))


def _addresses(name: str) -> set[str]:
    found = set()
    for _, _, _, settings in services(name):
        for field, value in _strings(settings):
            if field.endswith("_addresses") or field == "etcd_endpoints":
                found |= set(split_list(value))
    for workload in workloads(name):
        for container in containers(workload):
            for variable, value in environment(container).items():
                if re.fullmatch(r"TIERMESH_CLI_\w+_(ADDRESS|ENDPOINTS)", variable):
                    found |= set(split_list(value))
    for config_map in of_kind(name, "ConfigMap"):
        found |= set(split_list(config_map["data"].get("ETCDCTL_ENDPOINTS", "")))
    assert len(overlay(name)) > len(found) > 0
    return found


def _strings(settings: ServiceSettings) -> list[tuple[str, str]]:
    return [(key, value) for key, value in msgspec.structs.asdict(settings).items() if isinstance(value, str)]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _option_variables(command: click.Command) -> list[str]:
    found: list[Any] = [parameter.envvar for parameter in command.params]
    if isinstance(command, click.Group):
        found += [name for sub in command.commands.values() for name in _option_variables(sub)]
    return [name for name in found if name]
