"""The rendered overlays, and what the tests ask of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from services.auth.settings import AuthSettings
from services.billing.settings import BillingSettings
from services.common.settings import ServiceSettings, load_settings
from services.console.operators.settings import OperatorConsoleSettings
from services.console.settings import ConsoleSettings
from services.edge.settings import EdgeSettings
from services.router.settings import RouterSettings
from services.runner.settings import RunnerSettings
from tests.deploy.kubectl import ROOT, kubectl
from tests.deploy.procedures import commands
from tests.deploy.resources import Resource, pod_spec

OVERLAYS = ("laptop", "production")
WITHOUT_GPUS = "production without GPUs"
SETTINGS: Mapping[str, type[ServiceSettings]] = {
    "auth": AuthSettings,
    "billing": BillingSettings,
    "console": ConsoleSettings,
    "edge": EdgeSettings,
    "operator_console": OperatorConsoleSettings,
    "router": RouterSettings,
    "runner": RunnerSettings,
}
# The modules of services that are not called like them.
MODULES = {"services.console.operators": "operator_console"}
# What an operator puts into Secrets, and the kubelet into fields of a pod.
SECRETS = {
    "tiermesh-databases": {
        "auth-url": "postgresql://auth:secret@db.example.org/auth",
        "billing-url": "postgresql://billing:secret@db.example.org/billing",
        "rate-limit-url": "rediss://:secret@redis.example.org:6379/0",
    },
    "tiermesh-edge": {"reasoning-signing-key": "secret", "receipt-keys": '{"keys": []}'},
    "tiermesh-etcd": {"password": "secret"},
}
FIELDS = {"status.podIP": "10.0.0.1", "metadata.name": "pod-0"}


@cache
def overlay(name: str) -> tuple[Resource, ...]:
    """Returns the resources of an overlay as a cluster would get them; not to be changed.

    WITHOUT_GPUS is what somebody has who follows docs/operations/install.md and has no GPUs.
    """
    if name != WITHOUT_GPUS:
        return _rendered(f"deploy/k8s/overlays/{name}")
    with TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "deploy" / "k8s", Path(folder, "deploy", "k8s"))
        page = commands(ROOT / "docs" / "operations" / "install.md")
        made = "deploy/k8s/overlays/own"
        for command in page:
            if command.program in {"cp", "sed"}:
                words = [word.replace("$OVERLAY", made) for word in command.words]
                subprocess.run(words, cwd=folder, check=True)
        return _rendered(str(Path(folder, made)))


def with_components(*names: str) -> list[Resource]:
    """Returns the resources of the production overlay with components."""
    with TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "deploy" / "k8s", Path(folder, "k8s"))
        own = Path(folder, "k8s", "overlays", "production")
        text = (own / "kustomization.yaml").read_text(encoding="utf-8")
        paths = ", ".join(f"../../components/{name}" for name in names)
        (own / "kustomization.yaml").write_text(f"{text}components: [{paths}]\n", encoding="utf-8")
        return list(_rendered(str(own)))


def _rendered(folder: str) -> tuple[Resource, ...]:
    return tuple(yaml.load_all(kubectl("kustomize", folder), Loader=yaml.CSafeLoader))


def of_kind(name: str, *kinds: str) -> list[Resource]:
    """Returns the resources of these kinds."""
    return [resource for resource in overlay(name) if resource["kind"] in kinds]


def workloads(name: str) -> list[Resource]:
    """Returns everything that makes pods."""
    return [resource for resource in overlay(name) if pod_spec(resource)]


def pod_labels(workload: Resource) -> dict[str, str]:
    """Returns the labels of the pods that a workload makes."""
    return dict(workload["spec"]["template"]["metadata"]["labels"])


def component(workload: Resource) -> str:
    """Returns which part of the mesh the pods are."""
    return pod_labels(workload)["app.kubernetes.io/component"]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector of Kubernetes, with matchLabels and matchExpressions, takes these labels."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}, selector
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """Returns the environment of a container as the kubelet would make it."""
    values: dict[str, str] = {}
    for entry in container.get("env", ()):
        value = entry.get("value")
        if value is None:
            source = entry["valueFrom"]
            value = FIELDS[source["fieldRef"]["fieldPath"]] if "fieldRef" in source else _secret(source["secretKeyRef"])
        assert isinstance(value, str), f"{entry['name']}: Kubernetes takes only strings; put {value!r} into quotes"
        for name, known in values.items():
            value = value.replace(f"$({name})", known)
        values[entry["name"]] = value
    return values


def services(name: str) -> Iterator[tuple[str, Resource, dict[str, Any], ServiceSettings]]:
    """Yields the name, workload, container and settings of every service process."""
    for workload in of_kind(name, "Deployment"):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            for argument in container.get("args", ()):
                service = MODULES.get(argument, argument.removeprefix("services."))
                settings = load_settings(SETTINGS[service], service, environment(container))
                yield service, workload, container, settings


def _secret(reference: Mapping[str, str]) -> str:
    return SECRETS[reference["name"]][reference["key"]]
