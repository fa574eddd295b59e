"""Prometheus scrapes every port of the pods that serves metrics, and whatever an alert reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.deploy.overlays import OVERLAYS, of_kind, overlay, pod_labels, selects, services, workloads
from tests.deploy.resources import containers
from tests.observability.definitions import names_in, read_yaml, rules

# The job of a pod's port: by it the rules tell services apart.
Targets = dict[tuple[str, int], str]

_RECORDED = {rule["record"]: rule["expr"] for rule in rules("recording.yaml")}


@pytest.fixture(params=["prometheus.yaml", "pod-monitor.yaml"])
def scraped(request: pytest.FixtureRequest) -> Any:
    """Returns what an overlay's pods are scraped at, by either of the two configurations."""
    return _by_prometheus if request.param == "prometheus.yaml" else _by_operator


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_port_that_serves_metrics_is_scraped_and_no_other(name: str, scraped: Any) -> None:
    serving = {
        (workload["metadata"]["name"], int(settings.admin_listen.rpartition(":")[2]))
        for _, workload, _, settings in services(name)
    }
    for workload in of_kind(name, "StatefulSet"):
        [etcd] = [c for c in containers(workload) if c["name"] == "etcd"]
        text = " ".join([*etcd["command"], *etcd.get("args", ())])
        [port] = re.findall(r"--listen-metrics-urls=http://0\.0\.0\.0:(\d+)", text)
        serving.add((workload["metadata"]["name"], int(port)))
    assert scraped(name).keys() == serving


@pytest.mark.parametrize("rule", rules("alerts.yaml"), ids=lambda rule: rule["alert"])
def test_what_an_alert_reads_is_scraped(rule: dict[str, Any], scraped: Any) -> None:
    for name in OVERLAYS:
        assert _jobs_read(rule["expr"]) <= set(scraped(name).values())


def test_the_jobs_that_alerts_read_are_found() -> None:
    # Otherwise the test before this one would prove nothing.
    read = {job for rule in rules("alerts.yaml") for job in _jobs_read(rule["expr"])}
    assert read == {f"tiermesh-{part}" for part in ("auth", "billing", "edge", "router", "etcd")}


def test_prometheus_is_let_in_wherever_it_scrapes(scraped: Any) -> None:
    for name in OVERLAYS:
        [policy] = [p for p in of_kind(name, "NetworkPolicy") if p["metadata"]["name"] == "tiermesh-metrics"]
        [rule] = policy["spec"]["ingress"]
        assert {port["port"] for port in rule["ports"]} == {port for _, port in scraped(name)}


def _jobs_read(expression: str) -> set[str]:
    """Returns the jobs that an expression names, and those whose metrics it reads."""
    found = set()
    for _, alternatives in re.findall(r'\bjob=~?"(tiermesh-)\(?([\w|-]+)\)?"', expression):
        found |= {f"tiermesh-{part}" for part in alternatives.split("|")}
    for metric in names_in(expression):
        if metric in _RECORDED:
            found |= _jobs_read(_RECORDED[metric])
        elif match := re.match(r"(?:tiermesh_)?(auth|billing|edge|router|runner|etcd)_", metric):
            found.add(f"tiermesh-{match[1]}")
    return found


def _pod_ports(name: str) -> Iterator[tuple[str, int, dict[str, str]]]:
    """Yields each port of each pod with the labels that Prometheus finds there."""
    for workload in workloads(name):
        labels = {
            f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', key)}": value
            for key, value in pod_labels(workload).items()
        }
        for container in containers(workload):
            for port in container.get("ports", ()):
                found = {"__meta_kubernetes_pod_container_port_name": port["name"], **labels}
                yield workload["metadata"]["name"], port["containerPort"], found


def _by_prometheus(name: str) -> Targets:
    [scrape] = read_yaml("prometheus.yaml")["scrape_configs"]
    [discovered] = scrape["kubernetes_sd_configs"]
    assert discovered["namespaces"]["names"] == [r["metadata"]["name"] for r in of_kind(name, "Namespace")]
    targets = {}
    for workload, port, labels in _pod_ports(name):
        if (kept := _relabelled(labels, scrape["relabel_configs"])) is not None:
            targets[workload, port] = kept["job"]
    return targets


def _by_operator(name: str) -> Targets:
    monitor = read_yaml("pod-monitor.yaml")
    assert {monitor["metadata"]["namespace"]} == {r["metadata"].get("namespace", "tiermesh") for r in overlay(name)}
    targets = {}
    chosen = {w["metadata"]["name"] for w in workloads(name) if selects(monitor["spec"]["selector"], pod_labels(w))}
    for workload, port, labels in _pod_ports(name):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if workload in chosen and endpoint["port"] == labels["__meta_kubernetes_pod_container_port_name"]:
                kept = _relabelled(labels, [_snake_case(each) for each in endpoint["relabelings"]])
                assert kept is not None
                targets[workload, port] = kept["job"]
    return targets


def _relabelled(labels: Mapping[str, str], configurations: list[dict[str, Any]]) -> dict[str, str] | None:
    """Returns the labels after Prometheus's relabelling; None if the target is dropped."""
    found = dict(labels)
    for each in configurations:
        value = ";".join(found.get(label, "") for label in each["source_labels"])
        # Prometheus anchors expressions, and writes $1 for a group.
        match = re.fullmatch(each.get("regex", "(.*)"), value)
        if each.get("action", "replace") == "keep":
            if match is None:
                return None
        elif match is not None:
            found[each["target_label"]] = match.expand(each.get("replacement", "$1").replace("$", "\\"))
    return found


def _snake_case(relabelling: Mapping[str, Any]) -> dict[str, Any]:
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return {names.get(key, key): value for key, value in relabelling.items()}
