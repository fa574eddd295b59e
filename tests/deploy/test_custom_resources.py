"""Certificates and autoscalers of runners, which nothing but a cluster with their controllers knows."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import msgspec
import pytest
import yaml

from services.common.catalog import Catalog, load_catalog
from services.common.rpc.peer_names import ROLES, peer_name
from services.common.settings import split_list
from services.runner.settings import RunnerSettings
from tests.deploy.custom_resources import SPECS, CertificateSpec, ScaledObjectSpec
from tests.deploy.kubectl import ROOT
from tests.deploy.overlays import OVERLAYS, WITHOUT_GPUS, of_kind, overlay, services
from tests.deploy.resources import is_core

COMPONENT = "app.kubernetes.io/component"
CUSTOM = [resource for resource in overlay("production") if not is_core(resource)]


def specs(kind: type[Any]) -> dict[str, Any]:
    return {
        resource["metadata"]["name"]: msgspec.convert(resource["spec"], kind)
        for resource in CUSTOM
        if SPECS[resource["apiVersion"], resource["kind"]] is kind
    }


def scaled_objects(name: str) -> list[ScaledObjectSpec]:
    return [msgspec.convert(resource["spec"], ScaledObjectSpec) for resource in of_kind(name, "ScaledObject")]


def catalog(name: str) -> Catalog:
    [config_map] = [c for c in of_kind(name, "ConfigMap") if c["metadata"]["name"] == "tiermesh-catalog"]
    with NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(config_map["data"]["models.yaml"])
        file.flush()
        return load_catalog(Path(file.name))


def runners(name: str) -> dict[str, RunnerSettings]:
    """Returns the settings of the runners by the name of their Deployment."""
    found = ((workload, settings) for _, workload, _, settings in services(name))
    return {w["metadata"]["name"]: settings for w, settings in found if isinstance(settings, RunnerSettings)}


@pytest.mark.parametrize("resource", CUSTOM, ids=lambda resource: f"{resource['kind']}/{resource['metadata']['name']}")
def test_their_fields_are_known(resource: dict[str, Any]) -> None:
    msgspec.convert(resource["spec"], SPECS[resource["apiVersion"], resource["kind"]])


def test_the_laptop_needs_nothing_of_others() -> None:
    assert all(is_core(resource) for resource in overlay("laptop"))


def test_the_gateway_leads_to_the_same_as_the_ingress() -> None:
    path = ROOT / "deploy" / "k8s" / "overlays" / "production" / "gateway.yaml"
    gateway, *routes = yaml.safe_load_all(path.read_text())
    found = {}
    for route in routes:
        [parent] = route["spec"]["parentRefs"]
        assert parent["name"] == gateway["metadata"]["name"]
        [rule] = route["spec"]["rules"]
        [backend] = rule["backendRefs"]
        [service] = [s for s in of_kind("production", "Service") if s["metadata"]["name"] == backend["name"]]
        assert backend["port"] == service["spec"]["ports"][0]["port"]
        [host] = route["spec"]["hostnames"]
        found[host] = backend["name"]
    ingresses = of_kind("production", "Ingress")
    assert found == {each["spec"]["rules"][0]["host"]: each["metadata"]["name"] for each in ingresses}
    assert list(found) == [listener["hostname"] for listener in gateway["spec"]["listeners"]]


def test_every_part_has_a_certificate_with_its_name() -> None:
    certificates = specs(CertificateSpec)
    for role in ROLES:
        certificate = certificates[peer_name(role)]
        assert certificate.dns_names == [peer_name(role)]
        assert certificate.secret_name == f"{peer_name(role)}-tls"
        # etcd knows routers and runners by it.
        assert certificate.common_name == peer_name(role)
    for name, certificate in certificates.items():
        if name != "tiermesh-ca":
            assert certificate.issuer_ref.name == "tiermesh-ca"
            assert set(certificate.usages) == {"server auth", "client auth"}
    assert [name for name, certificate in certificates.items() if certificate.common_name == "root"] == [
        "tiermesh-etcd-root"
    ]


def test_etcd_s_certificate_has_every_name_that_it_is_called_by() -> None:
    [etcd] = of_kind("production", "StatefulSet")
    names = set(specs(CertificateSpec)["tiermesh-etcd"].dns_names)
    endpoints = {
        address for settings in runners("production").values() for address in split_list(settings.etcd_endpoints)
    }
    assert {endpoint.partition(":")[0] for endpoint in endpoints} <= names
    command = " ".join(etcd["spec"]["template"]["spec"]["containers"][0]["command"])
    peers = re.findall(r"tiermesh-etcd-\d=https://([\w.-]+):2380", command)
    assert len(peers) == etcd["spec"]["replicas"] == 3
    assert set(peers) <= names


def test_etcd_s_roles_are_limited_to_the_prefix() -> None:
    [job] = [job for job in of_kind("production", "Job") if job["metadata"]["name"] == "tiermesh-etcd-access"]
    spec = job["spec"]["template"]["spec"]
    commands = [" ".join(c["command"]) for c in (*spec["initContainers"], *spec["containers"])]
    grants = [command.split()[-2:] for command in commands if "grant-permission" in command]
    assert grants == [["readwrite", "/tiermesh/"], ["read", "/tiermesh/"], ["readwrite", "/tiermesh/drains/"]]
    # Everything else must be done before: then nobody may do anything without a role.
    assert commands[-1] == "etcdctl auth enable"
    [documented] = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "operations" / "tls.md").read_text(), re.DOTALL)
    assert commands == documented.strip().splitlines()


def test_without_gpus_chats_are_served_all_the_same() -> None:
    assert {model.tier for model in catalog(WITHOUT_GPUS).models if model.kind == "chat"} == {"pro"}
    assert "nvidia.com/gpu" not in str(overlay(WITHOUT_GPUS))
    assert "exllamav2" not in str(overlay(WITHOUT_GPUS))
    # Nothing waits for a volume that nobody fills, and all else is as with GPUs.
    assert of_kind(WITHOUT_GPUS, "PersistentVolumeClaim") == []
    rest = [r for r in overlay("production") if r["metadata"].get("labels", {}).get(COMPONENT) != "runner"]
    assert [r for r in rest if r not in overlay(WITHOUT_GPUS)] == [
        r for r in rest if r["metadata"]["name"] == "tiermesh-catalog"
    ]


@pytest.mark.parametrize("name", [*OVERLAYS, WITHOUT_GPUS])
def test_every_tier_of_the_catalog_has_runners_that_can_serve_it(name: str) -> None:
    sold = catalog(name)
    assert {model.tier for model in sold.models} == {settings.tier for settings in runners(name).values()}
    for settings in runners(name).values():
        assert all(model.context <= settings.context for model in sold.tier(settings.tier))
        vision = any("vision" in model.capabilities for model in sold.tier(settings.tier))
        assert settings.engine != "exllamav2" or settings.exllamav2_vision is vision


@pytest.mark.parametrize("name", ["production", WITHOUT_GPUS])
def test_runners_are_scaled_by_their_own_tier_and_slots(name: str) -> None:
    scalers = {scaler.scale_target_ref.name: scaler for scaler in scaled_objects(name)}
    exported = set(re.findall(r'"(tiermesh_\w+)"', (ROOT / "services" / "router" / "metrics.py").read_text()))
    assert scalers.keys() == runners(name).keys()
    for runner, settings in runners(name).items():
        waiting, active = (trigger.metadata for trigger in scalers[runner].triggers)
        for query in (waiting.query, active.query):
            [(metric, tier)] = re.findall(r'(tiermesh_\w+)\{tier="([\w-]+)"\}', query)
            assert metric in exported
            assert tier == settings.tier
        assert int(waiting.threshold) < settings.slots
        assert int(active.threshold) < settings.slots


@pytest.mark.parametrize("name", ["production", WITHOUT_GPUS])
def test_a_tier_without_runners_lets_its_first_request_wait(name: str) -> None:
    for scaler in scaled_objects(name):
        settings = runners(name)[scaler.scale_target_ref.name]
        for model in catalog(name).tier(settings.tier):
            assert (model.cold_start_seconds > 0) is (scaler.min_replica_count == 0)


@pytest.mark.parametrize("name", [*OVERLAYS, WITHOUT_GPUS])
def test_the_catalog_is_what_the_services_read(name: str) -> None:
    [config_map] = [c for c in of_kind(name, "ConfigMap") if c["metadata"]["name"] == "tiermesh-catalog"]
    for _, _, container, settings in services(name):
        [mount] = [m for m in container["volumeMounts"] if m["name"] == "catalog"]
        # A subPath would never be updated.
        assert mount.keys() == {"name", "mountPath", "readOnly"}
        assert settings.catalog_file.removeprefix(mount["mountPath"] + "/") in config_map["data"]
