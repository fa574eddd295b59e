from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import msgspec
import pytest

from tests.deploy.json_patch import Operation, PatchError, apply
from tests.deploy.kustomize import is_core, render

DEPLOYMENT = """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: a}
    spec: {replicas: 1, template: {spec: {containers: [{name: a, image: "repo/a:1", env: [{name: X, value: "1"}]}]}}}
"""
HEAD = """
    apiVersion: kustomize.config.k8s.io/v1beta1
    kind: Kustomization
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(dedent(text))
    return folder


def test_namespace_images_config_maps_and_patches(tmp_path: Path) -> None:
    kustomization = (
        HEAD
        + """
    namespace: space
    resources: [deployment.yaml]
    configMapGenerator: [{name: made, files: [patch.yaml], literals: [A=b=c]}]
    generatorOptions: {disableNameSuffixHash: true}
    images: [{name: repo/a, newName: elsewhere/a, newTag: "2"}]
    patches: [{path: patch.yaml, target: {kind: Deployment, name: a}}]
    """
    )
    patch = """
    - {op: test, path: /spec/template/spec/containers/0/env/0/name, value: X}
    - {op: add, path: /spec/template/spec/containers/0/env/-, value: {name: Y, value: "2"}}
    - {op: remove, path: /spec/replicas}
    """
    folder = write(tmp_path, kustomization=kustomization, deployment=DEPLOYMENT, patch=patch)
    deployment, made = render(folder)
    assert deployment["metadata"] == {"name": "a", "namespace": "space"}
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "elsewhere/a:2"
    assert [entry["name"] for entry in container["env"]] == ["X", "Y"]
    assert "replicas" not in deployment["spec"]
    assert made["data"] == {"patch.yaml": dedent(patch), "A": "b=c"}


@pytest.mark.parametrize("field", ["commonLabels: {a: b}", "namePrefix: x", "replacements: []"])
def test_a_field_that_is_not_known_is_refused(tmp_path: Path, field: str) -> None:
    folder = write(
        tmp_path, kustomization=f"{HEAD}\n    resources: [deployment.yaml]\n    {field}\n", deployment=DEPLOYMENT
    )
    with pytest.raises(msgspec.ValidationError):
        render(folder)


def test_two_resources_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, kustomization=f"{HEAD}\n    resources: [a.yaml, b.yaml]\n", a=DEPLOYMENT, b=DEPLOYMENT)
    with pytest.raises(AssertionError, match="one name"):
        render(folder)


@pytest.mark.parametrize(
    "operation",
    [
        Operation(op="test", path="/a/0", value=2),
        Operation(op="remove", path="/b"),
        Operation(op="replace", path="/a/3", value=1),
        Operation(op="add", path="/missing/-", value=1),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(operation: Operation) -> None:
    with pytest.raises(PatchError, match=operation.path):
        apply({"a": [1]}, [operation])


def test_resources_of_others_are_told_apart() -> None:
    own = ["v1", "apps/v1", "policy/v1", "autoscaling/v2", "networking.k8s.io/v1"]
    others = ["cert-manager.io/v1", "keda.sh/v1alpha1", "gateway.networking.k8s.io/v1"]
    assert all(is_core({"apiVersion": version}) for version in own)
    assert not any(is_core({"apiVersion": version}) for version in others)
