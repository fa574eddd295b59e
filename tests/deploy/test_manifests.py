"""What holds the manifests together: selectors, budgets, autoscalers, images, volumes and the restrictions of pods."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.deploy.kubectl import ROOT
from tests.deploy.overlays import OVERLAYS, WITHOUT_GPUS, of_kind, overlay, pod_labels, selects, workloads
from tests.deploy.resources import containers, pod_spec

IMAGES = ROOT / "deploy" / "images"

pytestmark = pytest.mark.parametrize("name", [*OVERLAYS, WITHOUT_GPUS])


def test_everything_is_in_the_namespace(name: str) -> None:
    [namespace] = of_kind(name, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for resource in overlay(name):
        if resource is not namespace:
            assert resource["metadata"]["namespace"] == namespace["metadata"]["name"]


def test_workloads_select_their_own_pods_and_no_others(name: str) -> None:
    kinds = of_kind(name, "Deployment", "StatefulSet")
    for workload in kinds:
        selected = [other for other in workloads(name) if selects(workload["spec"]["selector"], pod_labels(other))]
        assert selected == [workload]


def test_every_service_and_budget_selects_pods(name: str) -> None:
    budgets = of_kind(name, "PodDisruptionBudget")
    for budget in budgets:
        assert budget["spec"]["maxUnavailable"] == 1
        # A single pod that does not become ready would block `kubectl drain`. Members of etcd are never alone.
        evictable = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        assert evictable is not budget["metadata"]["name"].endswith("-etcd")
    selectors = [budget["spec"]["selector"] for budget in budgets]
    selectors += [{"matchLabels": service["spec"]["selector"]} for service in of_kind(name, "Service")]
    for workload in workloads(name):
        for spread in _placing(workload):
            assert selects(spread["labelSelector"], pod_labels(workload))
    for selector in selectors:
        assert any(selects(selector, pod_labels(workload)) for workload in workloads(name)), selector


def test_everything_that_serves_has_one_budget(name: str) -> None:
    for workload in of_kind(name, "Deployment", "StatefulSet"):
        budgets = [
            b for b in of_kind(name, "PodDisruptionBudget") if selects(b["spec"]["selector"], pod_labels(workload))
        ]
        expected = 0 if _is(workload, "operator") or (name == "laptop" and _is(workload, "etcd")) else 1
        assert len(budgets) == expected, workload["metadata"]["name"]


def test_autoscalers_have_a_target_that_leaves_the_number_to_them(name: str) -> None:
    targets = {w["metadata"]["name"]: w for w in of_kind(name, "Deployment")}
    scaled = [s["spec"]["scaleTargetRef"]["name"] for s in of_kind(name, "HorizontalPodAutoscaler", "ScaledObject")]
    assert len(scaled) == len(set(scaled))
    assert bool(scaled) is (name != "laptop")
    for target, workload in targets.items():
        # Otherwise each `kubectl apply` would undo what the autoscaler did.
        assert ("replicas" not in workload["spec"]) is (target in scaled)
    assert set(scaled) <= targets.keys()
    for scaler in of_kind(name, "HorizontalPodAutoscaler"):
        assert scaler["spec"]["minReplicas"] >= 2
        assert all("cpu" in container["resources"]["requests"] for container in _of(targets, scaler))


def test_updates_lose_nobody(name: str) -> None:
    for workload in of_kind(name, "Deployment"):
        strategy = workload["spec"].get("strategy", {})
        if name == "laptop" and (_is(workload, "auth") or _is(workload, "billing")):
            assert strategy == {"type": "Recreate"}
        elif not _is(workload, "operator"):
            assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_an_update_is_slower_than_a_dns_cache(name: str) -> None:
    for workload in of_kind(name, "Deployment"):
        # Edges look these up by the name of a Service; runners are found in etcd, and edges by the ingress.
        looked_up = any(_is(workload, part) for part in ("auth", "billing", "router"))
        expected = looked_up and name != "laptop"
        # A cluster's DNS keeps answers for 30 s, and edges look them up every 5 s.
        assert (workload["spec"].get("minReadySeconds", 0) > 30 + 5) is expected, workload["metadata"]["name"]


def test_one_node_never_has_every_replica(name: str) -> None:
    for workload in of_kind(name, "Deployment"):
        if any(_is(workload, part) for part in ("auth", "billing", "router")):
            [constraint] = [
                spread
                for spread in workload["spec"]["template"]["spec"]["topologySpreadConstraints"]
                if spread["topologyKey"] == "kubernetes.io/hostname"
            ]
            assert constraint["whenUnsatisfiable"] == "DoNotSchedule"
            assert constraint["maxSkew"] == 1
            # Otherwise pods of the old version, and nodes that take no pods, would keep new ones from starting.
            assert constraint["matchLabelKeys"] == ["pod-template-hash"]
            assert constraint["nodeTaintsPolicy"] == "Honor"


def test_the_laptop_s_pods_fit_a_node_with_two_cpus(name: str) -> None:
    if name == "laptop":
        requests = {w["metadata"]["name"]: _requested_cpus(w) for w in workloads(name)}
        surges = [
            requests[w["metadata"]["name"]]
            for w in of_kind(name, "Deployment")
            if w["spec"].get("strategy", {}).get("type") != "Recreate"
        ]
        # The control plane of a node of kind asks for 0.95 CPUs.
        assert sum(requests.values()) + sum(surges) <= 2 - 0.95
        page = (ROOT / "docs" / "operations" / "install.md").read_text()
        [stated] = re.findall(r"The pods request ([\d.]+) CPUs", page)
        assert float(stated) == round(sum(requests.values()), 1)


def test_commands_find_the_service_in_a_pod_of_several_containers(name: str) -> None:
    for workload in of_kind(name, "Deployment", "StatefulSet"):
        if len(list(containers(workload))) > 1:
            chosen = workload["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]
            assert chosen == workload["spec"]["template"]["spec"]["containers"][0]["name"]


def test_a_rollout_outlasts_the_start_of_a_pod(name: str) -> None:
    for workload in of_kind(name, "Deployment"):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            if probe := container.get("startupProbe"):
                longest = probe["periodSeconds"] * probe["failureThreshold"] + workload["spec"].get(
                    "minReadySeconds", 0
                )
                # 600 seconds are what Kubernetes gives by default.
                assert workload["spec"].get("progressDeadlineSeconds", 600) > longest, workload["metadata"]["name"]


def test_every_image_is_pinned(name: str) -> None:
    for workload in workloads(name):
        for container in containers(workload):
            assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", container["image"]), container["image"]


def test_our_images_are_those_that_make_images_builds(name: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    built = {f"tiermesh/{path.name.removesuffix('.Dockerfile')}:{version}" for path in IMAGES.glob("*.Dockerfile")}
    used = {c["image"] for w in workloads(name) for c in containers(w) if "tiermesh/" in c["image"]}
    assert {image.removeprefix("registry.example.org/") for image in used} <= built
    # What the page loads into a node is what that node needs: nobody has published these.
    page = (ROOT / "docs" / "operations" / "install.md").read_text()
    [loaded] = re.findall(r"kind load docker-image (.*)", page)
    assert name != "laptop" or set(loaded.split()) == used


def test_etcd_is_new_enough_not_to_lose_data(name: str) -> None:
    versions = {
        c["image"].rpartition(":v")[2] for w in workloads(name) for c in containers(w) if "/etcd:" in c["image"]
    }
    [version] = versions
    assert tuple(map(int, version.split("."))) >= (3, 5, 16)


def test_pods_are_restricted(name: str) -> None:
    accounts = {a["metadata"]["name"]: a for a in of_kind(name, "ServiceAccount")}
    for workload in workloads(name):
        spec = pod_spec(workload) or {}
        assert accounts[spec["serviceAccountName"]]["automountServiceAccountToken"] is False
        assert spec["automountServiceAccountToken"] is False
        # A Service named tiermesh-auth would give every pod TIERMESH_AUTH_SERVICE_HOST, which settings refuse.
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(workload):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


def test_volumes_fit(name: str) -> None:
    made = {(r["kind"], r["metadata"]["name"]) for r in overlay(name)}
    secrets = {c["spec"]["secretName"] for c in of_kind(name, "Certificate")}
    for workload in workloads(name):
        spec = pod_spec(workload) or {}
        volumes = {volume["name"] for volume in spec.get("volumes", ())}
        volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
        mounted = [mount["name"] for container in containers(workload) for mount in container.get("volumeMounts", ())]
        assert set(mounted) == volumes
        for volume in spec.get("volumes", ()):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in made
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in made
            if "secret" in volume:
                assert volume["secret"]["secretName"] in secrets


def test_the_ingress_passes_answers_on_as_they_come(name: str) -> None:
    ingresses = of_kind(name, "Ingress")
    assert len(ingresses) == (0 if name == "laptop" else 2)
    for ingress in ingresses:
        prefix = "nginx.ingress.kubernetes.io/"
        annotations = {k.removeprefix(prefix): v for k, v in ingress["metadata"]["annotations"].items()}
        if ingress["metadata"]["name"] == "tiermesh-edge":
            assert annotations["proxy-buffering"] == "off"
            assert int(annotations["proxy-read-timeout"]) > 600
        assert annotations["proxy-next-upstream"] == "off"
        assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"] for rule in ingress["spec"]["rules"]]
        [path] = ingress["spec"]["rules"][0]["http"]["paths"]
        backend = path["backend"]["service"]
        [service] = [s for s in of_kind(name, "Service") if s["metadata"]["name"] == backend["name"]]
        assert backend["port"]["number"] in {port["port"] for port in service["spec"]["ports"]}


def _requested_cpus(workload: dict[str, object]) -> float:
    """Returns what the scheduler counts: the sum of the containers, or the largest of those that run before them."""
    spec = pod_spec(workload) or {}
    first, then = (
        [_cpus(container["resources"]["requests"]["cpu"]) for container in spec.get(field, [])]
        for field in ("initContainers", "containers")
    )
    return max(sum(then), *first, 0.0)


def _cpus(quantity: str) -> float:
    return int(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)


def _is(workload: dict[str, object], part: str) -> bool:
    return pod_labels(workload)["app.kubernetes.io/component"] == part


def _of(
    targets: dict[str, dict[str, object]], scaler: dict[str, dict[str, dict[str, str]]]
) -> list[dict[str, dict[str, str]]]:
    return list(containers(targets[scaler["spec"]["scaleTargetRef"]["name"]]))


def _placing(workload: dict[str, object]) -> list[dict[str, dict[str, object]]]:
    spec = pod_spec(workload) or {}
    affinity = spec.get("affinity", {}).get("podAntiAffinity", {})
    return [
        *spec.get("topologySpreadConstraints", []),
        *affinity.get("requiredDuringSchedulingIgnoredDuringExecution", []),
    ]
