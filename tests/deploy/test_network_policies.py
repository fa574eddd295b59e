"""The network policies allow every edge of the architecture's call graph and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.deploy.overlays import OVERLAYS, component, of_kind, pod_labels, selects, workloads
from tests.deploy.resources import Resource, containers

pytestmark = pytest.mark.parametrize("name", OVERLAYS)

# Who calls whom, at which port.
CALLS = {
    ("console", "auth", 7101),
    ("console", "billing", 7102),
    ("console", "router", 7103),
    ("operator-console", "auth", 7101),
    ("operator-console", "billing", 7102),
    ("operator-console", "router", 7103),
    ("edge", "auth", 7101),
    ("edge", "billing", 7102),
    ("edge", "router", 7103),
    ("edge", "runner", 7104),
    ("router", "runner", 7104),
    ("router", "etcd", 2379),
    ("runner", "etcd", 2379),
    ("etcd", "etcd", 2380),
    ("operator", "auth", 7101),
    ("operator", "billing", 7102),
    ("operator", "router", 7103),
    ("operator", "runner", 7104),
    ("operator", "etcd", 2379),
    ("operator", "edge", 8000),
}
# Who reaches other networks.
OUT = {
    "laptop": {("edge", "0.0.0.0/0", 443)},
    "production": {
        ("edge", "0.0.0.0/0", 443),
        ("auth", "10.0.0.0/8", 5432),
        ("auth", "10.0.0.0/8", 6379),
        ("billing", "10.0.0.0/8", 5432),
        ("migration", "10.0.0.0/8", 5432),
    },
}


def test_everything_is_denied_unless_it_is_allowed(name: str) -> None:
    denials = [p for p in of_kind(name, "NetworkPolicy") if p["spec"]["podSelector"] == {}]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in [denial["spec"] for denial in denials]


def test_ports_are_numbers_with_a_protocol(name: str) -> None:
    for policy in of_kind(name, "NetworkPolicy"):
        for direction in ("ingress", "egress"):
            for rule in policy["spec"].get(direction, ()):
                # A rule without ports or peers allows all of them.
                assert rule["ports"]
                assert rule["from" if direction == "ingress" else "to"]
                for port in rule["ports"]:
                    assert type(port["port"]) is int
                    assert port["protocol"] in {"TCP", "UDP"}


def test_a_direction_with_rules_is_declared(name: str) -> None:
    for policy in of_kind(name, "NetworkPolicy"):
        declared = {direction.lower() for direction in policy["spec"]["policyTypes"]}
        assert declared >= policy["spec"].keys() & {"ingress", "egress"}


def test_exactly_the_calls_of_the_architecture_get_through(name: str) -> None:
    parts = {component(workload): pod_labels(workload) for workload in workloads(name)}
    expected = {call for call in CALLS if call[1] in parts} | (
        {("etcd-access", "etcd", 2379)} if "etcd-access" in parts else set()
    )
    sent = {
        (caller, called, port)
        for caller in parts
        for called in parts
        for port in _ports(name, "egress", parts[caller], parts[called])
    }
    taken = {
        (caller, called, port)
        for caller in parts
        for called in parts
        for port in _ports(name, "ingress", parts[called], parts[caller])
    }
    assert sent & taken == expected
    # Nothing is allowed on one side only either, which would be a mistake on the other.
    assert sent ^ taken == set()


def test_every_port_that_is_called_is_listened_at(name: str) -> None:
    listening = {
        (component(w), port["containerPort"])
        for w in workloads(name)
        for c in containers(w)
        for port in c.get("ports", ())
    }
    for _, called, port in CALLS:
        assert (called, port) in listening or (name == "laptop" and port == 2380)


def test_other_namespaces_reach_edge_console_and_metrics(name: str) -> None:
    found = set()
    for policy, rule in _rules(name, "ingress"):
        for peer in rule["from"]:
            if "namespaceSelector" in peer:
                namespace = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
                labels = policy["spec"]["podSelector"].get("matchLabels", {"*": "*"})
                found |= {(*labels.items(), namespace, port["port"]) for port in rule["ports"]}
    expected = {
        (("app.kubernetes.io/component", "edge"), "ingress-nginx", 8000),
        (("app.kubernetes.io/component", "console"), "ingress-nginx", 8001),
        (("*", "*"), "monitoring", 9090),
        (("*", "*"), "monitoring", 2381),
    }
    # The pod by which cert-manager proves whose name it is: out of reach, it gets the ingress no certificate.
    solver = (("acme.cert-manager.io/http01-solver", "true"), "ingress-nginx", 8089)
    assert found == (expected | {solver} if of_kind(name, "Ingress") else expected)


def test_other_networks_are_reached_by_few(name: str) -> None:
    parts = {component(workload): pod_labels(workload) for workload in workloads(name)}
    found = set()
    for policy, rule in _rules(name, "egress"):
        for peer in rule["to"]:
            if "ipBlock" in peer:
                chosen = [part for part, labels in parts.items() if selects(policy["spec"]["podSelector"], labels)]
                found |= {(part, peer["ipBlock"]["cidr"], port["port"]) for part in chosen for port in rule["ports"]}
                if peer["ipBlock"]["cidr"] == "0.0.0.0/0":
                    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(
                        peer["ipBlock"]["except"]
                    )
    assert found == OUT[name]


def _rules(name: str, direction: str) -> Iterator[tuple[Resource, dict[str, Any]]]:
    for policy in of_kind(name, "NetworkPolicy"):
        for rule in policy["spec"].get(direction, ()):
            yield policy, rule


def _ports(name: str, direction: str, subject: Mapping[str, str], peer: Mapping[str, str]) -> set[int]:
    """Returns at which ports a pod may be reached by, or may reach, another one."""
    found = set()
    for policy, rule in _rules(name, direction):
        if selects(policy["spec"]["podSelector"], subject):
            for entry in rule["from" if direction == "ingress" else "to"]:
                if "podSelector" in entry and "namespaceSelector" not in entry and selects(entry["podSelector"], peer):
                    found |= {port["port"] for port in rule["ports"]}
    return found
