"""The component for payments: it adds one part to an overlay, and everything that the part needs."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from services.common.settings import load_settings
from services.payments.settings import PaymentsSettings
from tests.deploy import overlays
from tests.deploy.overlays import environment, overlay, pod_labels, selects, with_components
from tests.deploy.resources import Resource, containers
from tests.support.chain import XPUB

SECRET = {
    "rpc-url": "https://one.example/key",
    "second-rpc-url": "https://two.example/key",
    "token": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
    "xpub": XPUB,
}


@pytest.fixture(scope="module")
def rendered() -> list[Resource]:
    """Production with payments, as docs/payments.md says."""
    return with_components("payments")


def of(resources: list[Resource], kind: str, name: str) -> Any:
    [found] = [each for each in resources if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def test_it_adds_one_part_and_tells_those_who_call_it(rendered: list[Resource]) -> None:
    before = list(overlay("production"))
    callers = {
        "tiermesh-console": ("TIERMESH_CONSOLE_PAYMENTS_ADDRESSES", "dns:tiermesh-payments:7105"),
        "tiermesh-operator": ("TIERMESH_CLI_PAYMENTS_ADDRESS", "tiermesh-payments:7105"),
    }
    changed = [of(rendered, "Deployment", name) for name in callers]
    assert [each for each in rendered if each not in before and each not in changed] == [
        each for each in rendered if each["metadata"]["name"].endswith("payments") and each["kind"] != "Certificate"
    ]
    untold = copy.deepcopy(rendered)
    for caller, (name, value) in callers.items():
        [container] = containers(of(untold, "Deployment", caller))
        [told] = [each for each in container["env"] if each["name"] == name]
        assert told["value"] == value
        container["env"].remove(told)
    assert all(each in untold for each in before)
    for each in rendered:
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "tiermesh"


def test_the_part_starts_with_what_it_is_given(rendered: list[Resource], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(overlays.SECRETS, "tiermesh-payments", SECRET)
    deployment = of(rendered, "Deployment", "tiermesh-payments")
    [container] = containers(deployment)
    settings = load_settings(PaymentsSettings, "payments", environment(container))
    assert settings.tls.enabled
    assert (settings.xpub, settings.second_rpc_url) == (XPUB, SECRET["second-rpc-url"])
    assert container["args"] == ["services.payments"]
    assert {port["containerPort"] for port in container["ports"]} == {7105, 9090}
    certificate = of(rendered, "Certificate", "tiermesh-payments")
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes["tls"]["secret"]["secretName"] == certificate["spec"]["secretName"]
    of(rendered, "ServiceAccount", deployment["spec"]["template"]["spec"]["serviceAccountName"])


def test_the_management_commands_reach_payments_and_nodes(rendered: list[Resource]) -> None:
    labels = pod_labels(of(rendered, "Deployment", "tiermesh-operator"))
    policies = [each["spec"] for each in rendered if each["kind"] == "NetworkPolicy"]
    mine = [each for each in policies if each["podSelector"] and selects(each["podSelector"], labels)]
    sent = [(rule["to"], port["port"]) for each in mine for rule in each.get("egress", ()) for port in rule["ports"]]
    assert [port for _, port in sent].count(7105) == 1
    [[node]] = [to for to, port in sent if port == 443]
    assert node["ipBlock"]["cidr"] == "0.0.0.0/0"
    assert "10.0.0.0/8" in node["ipBlock"]["except"]


def test_it_reaches_billing_and_nodes_and_nobody_else(rendered: list[Resource]) -> None:
    labels = pod_labels(of(rendered, "Deployment", "tiermesh-payments"))
    policies = [each["spec"] for each in rendered if each["kind"] == "NetworkPolicy"]
    mine = [each for each in policies if each["podSelector"] and selects(each["podSelector"], labels)]
    sent = [
        (str(rule["to"]), port["port"]) for each in mine for rule in each.get("egress", ()) for port in rule["ports"]
    ]
    assert sorted(port for _, port in sent) == [443, 7102]
    billing = of(rendered, "NetworkPolicy", "tiermesh-billing-payments")["spec"]["ingress"]
    assert selects(billing[0]["from"][0]["podSelector"], labels)


def test_wallets_can_pay_where_both_parts_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = with_components("payments", "x402")
    wallet = {"pay-to": "0x" + "77" * 20, "relayer-key": "0x" + "5a" * 32}
    monkeypatch.setitem(overlays.SECRETS, "tiermesh-payments", {**SECRET, **wallet})
    [container] = containers(of(rendered, "Deployment", "tiermesh-payments"))
    settings = load_settings(PaymentsSettings, "payments", environment(container))
    assert (settings.x402_pay_to, settings.relayer_key) == (wallet["pay-to"], wallet["relayer-key"])
    edge = of(rendered, "Deployment", "tiermesh-edge")
    [container] = containers(edge)
    told = {each["name"]: each.get("value") for each in container["env"]}
    assert told["TIERMESH_EDGE_PAYMENTS_ADDRESSES"] == "dns:tiermesh-payments:7105"
    # Edges may reach payments, and payments takes their calls.
    sent = of(rendered, "NetworkPolicy", "tiermesh-edge-payments")["spec"]
    taken = of(rendered, "NetworkPolicy", "tiermesh-payments-edge")["spec"]
    payments = pod_labels(of(rendered, "Deployment", "tiermesh-payments"))
    assert selects(sent["podSelector"], pod_labels(edge))
    assert selects(sent["egress"][0]["to"][0]["podSelector"], payments)
    assert selects(taken["podSelector"], payments)
    assert selects(taken["ingress"][0]["from"][0]["podSelector"], pod_labels(edge))
