"""The procedures of docs/operations end well: what they name is there, and what they stop is started again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.kubectl import ROOT
from tests.deploy.overlays import OVERLAYS, of_kind, overlay, pod_labels, workloads
from tests.deploy.procedures import Command, commands, kubectl_commands
from tests.deploy.resources import Resource

FOLDER = ROOT / "docs" / "operations"
PAGES = sorted(page for page in FOLDER.rglob("*.md") if kubectl_commands(page))

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def folder(path: str) -> str:
    """Returns which overlay a path of the pages is; an operator's own is a copy of production."""
    [name] = [
        name for name in OVERLAYS if path == f"deploy/k8s/overlays/{name}" or (path, name) == ("$OVERLAY", "production")
    ]
    return name


def applied(command: Command) -> list[Resource]:
    """Returns what a command brings into the cluster."""
    if command.verb != "apply" or "--dry-run" in command.options:
        return []
    if path := command.options.get("-k"):
        return list(overlay(folder(path)))
    path = command.options["-f"]
    return [] if path == "-" else list(yaml.safe_load_all((ROOT / path).read_text()))


def identity(resource: Resource) -> tuple[str, str]:
    return resource["kind"], resource["metadata"]["name"]


def known_objects(page: Path) -> Iterator[tuple[str, str]]:
    """Yields what the overlays and a page's own files make, and what Kubernetes makes of that."""
    resources = [resource for name in OVERLAYS for resource in overlay(name)]
    resources += [resource for command in kubectl_commands(page) for resource in applied(command)]
    for resource in resources:
        yield identity(resource)
        if resource["kind"] == "StatefulSet":
            for number in range(resource["spec"]["replicas"]):
                member = f"{resource['metadata']['name']}-{number}"
                yield "Pod", member
                for claim in resource["spec"].get("volumeClaimTemplates", ()):
                    yield "PersistentVolumeClaim", f"{claim['metadata']['name']}-{member}"


@every_page
def test_every_object_that_is_named_is_there(page: Path) -> None:
    known = set(known_objects(page))
    # The pods of a Deployment have names that begin with its own.
    known |= {("Pod", f"{name}-") for kind, name in known if kind == "Deployment"}
    for command in kubectl_commands(page):
        for kind, name in command.objects():
            # What people have to fill in stands in capitals, or is the end of a pod's name.
            pattern = re.sub(r"[A-Z]{3,}", ".*", name.removesuffix("…"))
            assert any(kind == k and re.fullmatch(pattern or ".*", n) for k, n in known), command


@every_page
def test_commands_act_on_the_namespace_of_the_mesh(page: Path) -> None:
    # Nodes and manifests, which name their own namespace, need none.
    elsewhere = {"apply", "label", "cordon", "drain", "uncordon"}
    for command in kubectl_commands(page):
        if command.verb not in elsewhere:
            assert command.options.get("-n") == "tiermesh", command


@every_page
def test_selectors_select_pods(page: Path) -> None:
    labels = [pod_labels(workload) for name in OVERLAYS for workload in workloads(name)]
    for command in kubectl_commands(page):
        if selector := command.options.get("-l"):
            key, values = re.findall(r"^([\w./-]+)(?:=| in )\(?([\w, -]+)\)?$", selector)[0]
            for value in values.split(","):
                assert any(each.get(key) == value.strip() for each in labels), command


@every_page
def test_what_is_stopped_is_started_again(page: Path) -> None:
    sequence = kubectl_commands(page)
    for position, command in enumerate(sequence):
        for each in command.objects():
            if command.verb == "scale" and command.options["--replicas"] == "0":
                assert any(_starts(later, each) for later in sequence[position + 1 :]), (each, command)
            # What made a pod makes another one.
            if command.verb == "delete" and each[0] != "Pod" and not _is_a_volume_of_a_member(each):
                made = (identity(resource) for later in sequence[position + 1 :] for resource in applied(later))
                assert each in made, (each, command)


@every_page
def test_what_is_waited_for_can_come(page: Path) -> None:
    for command in kubectl_commands(page):
        kinds = {kind for kind, _ in command.objects()}
        if command.verb == "wait":
            condition = command.options["--for"]
            expected = {"condition=complete": {"Job"}, "condition=Ready": {"Pod"}}
            assert kinds <= expected.get(condition, set()), command
            # The default is half a minute.
            assert "--timeout" in command.options, command
        if command.verb == "rollout":
            assert kinds <= {"Deployment", "StatefulSet"}, command


def test_the_pages_are_read_at_all() -> None:
    found = {command.verb for page in PAGES for command in kubectl_commands(page)}
    assert found >= {"apply", "scale", "delete", "wait", "rollout", "exec", "cp", "logs", "annotate", "get"}
    restore = [c for c in kubectl_commands(FOLDER / "backup.md") if c.verb == "scale"]
    assert [(c.options["--replicas"], name) for c in restore for _, name in c.objects()] == [
        ("0", "tiermesh-edge"),
        ("0", "tiermesh-billing"),
        ("2", "tiermesh-billing"),
        ("3", "tiermesh-edge"),
        ("0", "tiermesh-edge"),
        ("0", "tiermesh-auth"),
        ("0", "tiermesh-billing"),
    ]


def test_what_is_started_by_hand_has_as_many_replicas_as_its_autoscaler_wants_at_least() -> None:
    least = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"]["minReplicas"]
        for scaler in of_kind("production", "HorizontalPodAutoscaler")
    }
    for command in kubectl_commands(FOLDER / "backup.md"):
        if command.verb == "scale" and (replicas := int(command.options["--replicas"])):
            assert all(replicas == least[name] for _, name in command.objects()), command


def _starts(command: Command, each: tuple[str, str]) -> bool:
    """Whether a command gives a Deployment that was scaled to 0 pods again."""
    if command.verb == "scale":
        return each in command.objects() and int(command.options["--replicas"]) > 0
    # Without a number of replicas in the manifest, `apply` leaves it at 0, and so do autoscalers.
    return any(identity(r) == each and r["spec"].get("replicas", 0) > 0 for r in applied(command))


def _is_a_volume_of_a_member(each: tuple[str, str]) -> bool:
    return each[0] == "PersistentVolumeClaim" and re.search(r"-\d$", each[1]) is not None


def test_every_command_in_a_container_is_one_that_the_image_has() -> None:
    programs = {c.inner[0] for page in PAGES for c in commands(page) if c.program == "kubectl" and c.inner}
    assert programs <= {"tiermesh", "env", "python", "sh"}
