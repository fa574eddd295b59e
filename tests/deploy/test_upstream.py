"""The component for a tier of inference servers: a pod has the server and a runner in front of it, on its loopback."""

from __future__ import annotations

from typing import Any

import pytest

from services.common.settings import load_settings
from services.runner.settings import RunnerSettings
from tests.deploy import overlays
from tests.deploy.overlays import environment, overlay, pod_labels, selects, with_components
from tests.deploy.resources import Resource, pod_spec

NAME = "tiermesh-runner-upstream"
GPU = "nvidia.com/gpu"


@pytest.fixture(scope="module")
def rendered() -> list[Resource]:
    """Production with the component, as docs/upstream.md says."""
    return with_components("upstream")


@pytest.fixture
def deployment(rendered: list[Resource], monkeypatch: pytest.MonkeyPatch) -> Resource:
    monkeypatch.setitem(overlays.SECRETS, "tiermesh-upstream", {"api-key": "secret"})
    [found] = [each for each in rendered if (each["kind"], each["metadata"]["name"]) == ("Deployment", NAME)]
    return found


def parts(deployment: Resource) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the container of the server and that of the runner."""
    spec = pod_spec(deployment) or {}
    [server], [runner] = spec["initContainers"], spec["containers"]
    return server, runner


def test_it_adds_one_tier_and_changes_nothing_else(rendered: list[Resource]) -> None:
    before = list(overlay("production"))
    added = [each for each in rendered if each not in before]
    assert {(each["kind"], each["metadata"]["name"]) for each in added} == {
        ("Deployment", NAME),
        ("PodDisruptionBudget", NAME),
    }
    assert all(each in rendered for each in before)
    assert {each["metadata"]["namespace"] for each in added} == {"tiermesh"}


def test_the_runner_asks_the_server_of_its_pod(deployment: Resource) -> None:
    server, runner = parts(deployment)
    settings = load_settings(RunnerSettings, "runner", environment(runner))
    options = dict(argument.removeprefix("--").split("=") for argument in server["args"])
    assert settings.engine == "upstream"
    # Nobody but the pod itself reaches its loopback.
    assert options["host"] == "127.0.0.1"
    assert settings.upstream_url == f"http://127.0.0.1:{options['port']}/v1"
    assert "ports" not in server
    assert settings.upstream_model == options["served-model-name"]
    assert settings.upstream_key == environment(server)["VLLM_API_KEY"] == "secret"
    assert (settings.slots, settings.context) == (int(options["max-num-seqs"]), int(options["max-model-len"]))
    assert settings.tls.enabled
    assert settings.etcd_tls.enabled


def test_only_the_server_has_a_gpu(deployment: Resource) -> None:
    server, runner = parts(deployment)
    assert server["resources"]["requests"][GPU] == server["resources"]["limits"][GPU] == 1
    assert not any(GPU in amounts for amounts in runner["resources"].values())


def test_the_server_starts_before_the_runner_and_ends_after_it(deployment: Resource) -> None:
    server, runner = parts(deployment)
    # That is what makes it a sidecar: Kubernetes ends it after the other containers.
    assert server["restartPolicy"] == "Always"
    # The kubelet does not reach the loopback of a pod.
    for probe in ("startupProbe", "livenessProbe"):
        assert "127.0.0.1" in server[probe]["exec"]["command"][-1]
    for probe, path in (("startupProbe", "/readyz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert runner[probe]["httpGet"] == {"path": path, "port": 9090}
    starts = [part["startupProbe"] for part in (server, runner)]
    longest = max(probe["periodSeconds"] * probe["failureThreshold"] for probe in starts)
    assert deployment["spec"]["progressDeadlineSeconds"] >= longest
    settings = load_settings(RunnerSettings, "runner", environment(runner))
    assert settings.drain_seconds + 5 <= deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]


def test_the_pod_is_restricted(deployment: Resource) -> None:
    spec = pod_spec(deployment) or {}
    assert spec["securityContext"]["runAsNonRoot"] is True
    volumes = {volume["name"] for volume in spec["volumes"]}
    mounted = {mount["name"] for part in parts(deployment) for mount in part["volumeMounts"]}
    assert mounted == volumes
    for part in parts(deployment):
        assert part["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in part["resources"]["limits"]


def test_the_pod_reaches_etcd_and_is_reached_as_any_runner(rendered: list[Resource], deployment: Resource) -> None:
    labels = pod_labels(deployment)
    policies = [each["spec"] for each in rendered if each["kind"] == "NetworkPolicy"]
    mine = [each for each in policies if each["podSelector"] and selects(each["podSelector"], labels)]
    rules = {
        direction: [port["port"] for each in mine for rule in each.get(direction, ()) for port in rule["ports"]]
        for direction in ("ingress", "egress")
    }
    assert rules == {"ingress": [7104], "egress": [2379]}
