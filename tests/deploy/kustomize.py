"""Renders a kustomization as `kubectl kustomize` does, for checks on machines that have no kustomize.

Only the few fields that deploy/k8s uses are known, and what is not known is refused, so that a manifest never passes
the checks as something else than what a cluster would get. `python -m tests.deploy.kustomize FOLDER OUTPUT` writes what
Kubernetes itself defines to OUTPUT/core.yaml and the resources of others (cert-manager, KEDA) to OUTPUT/custom.yaml.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tests.deploy.json_patch import Operation, apply

Resource = dict[str, Any]

_CLUSTER_WIDE = {"Namespace"}
# The groups of the API that Kubernetes defines; a group with a dot in it is somebody else's unless it ends so.
_OWN_SUFFIX = ".k8s.io"
_OTHERS = {"gateway.networking.k8s.io"}


class _Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    pass


class _Generator(_Strict):
    name: str
    files: list[str] = []
    literals: list[str] = []


class _Options(_Strict):
    disable_name_suffix_hash: bool


class _Image(_Strict):
    name: str
    new_name: str = ""
    new_tag: str = ""


class _Target(_Strict):
    kind: str
    name: str


class _Patch(_Strict):
    path: str
    target: _Target


class _Kustomization(_Strict):
    api_version: str
    kind: str
    resources: list[str]
    namespace: str = ""
    config_map_generator: list[_Generator] = []
    generator_options: _Options | None = None
    images: list[_Image] = []
    patches: list[_Patch] = []


def render(folder: Path) -> list[Resource]:
    """Returns the resources of a kustomization; raises msgspec.ValidationError for a field that is not known."""
    content = _read(folder / "kustomization.yaml")
    kustomization = msgspec.convert(content[0], _Kustomization)
    resources = [resource for name in kustomization.resources for resource in _resources(folder / name)]
    resources += [_config_map(folder, generator) for generator in kustomization.config_map_generator]
    if kustomization.config_map_generator:
        options = kustomization.generator_options
        assert options is not None, f"{folder}: without generatorOptions kustomize would add hashes to names"
        assert options.disable_name_suffix_hash, f"{folder}: names with hashes would not be followed by services"
    for patch in kustomization.patches:
        _patch(folder, patch, resources)
    for resource in resources:
        if kustomization.namespace and resource["kind"] not in _CLUSTER_WIDE:
            resource["metadata"]["namespace"] = kustomization.namespace
        for container in containers(resource):
            container["image"] = _image(container["image"], kustomization.images)
    keys = [(r["apiVersion"], r["kind"], r["metadata"]["name"]) for r in resources]
    assert len(keys) == len(set(keys)), f"{folder}: kustomize refuses two resources of one name"
    return resources


def pod_spec(resource: Resource) -> dict[str, Any] | None:
    """Returns the specification of the pods that a resource makes; None if it makes none."""
    spec: dict[str, Any] | None = resource.get("spec", {}).get("template", {}).get("spec")
    return spec


def containers(resource: Resource) -> Iterator[dict[str, Any]]:
    """Yields the containers of the pods that a resource makes, those that run first included."""
    spec = pod_spec(resource) or {}
    yield from spec.get("initContainers", [])
    yield from spec.get("containers", [])


def is_core(resource: Resource) -> bool:
    """Whether Kubernetes itself defines the resource."""
    group = resource["apiVersion"].rpartition("/")[0]
    return group not in _OTHERS and ("." not in group or group.endswith(_OWN_SUFFIX))


def _read(path: Path) -> list[Any]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def _resources(path: Path) -> list[Resource]:
    return render(path) if path.is_dir() else _read(path)


def _config_map(folder: Path, generator: _Generator) -> Resource:
    data = {name: (folder / name).read_text(encoding="utf-8") for name in generator.files}
    data |= dict(literal.split("=", 1) for literal in generator.literals)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator.name}, "data": data}


def _patch(folder: Path, patch: _Patch, resources: Sequence[Resource]) -> None:
    operations = msgspec.convert(_read(folder / patch.path)[0], list[Operation])
    target = patch.target
    found = [r for r in resources if (r["kind"], r["metadata"]["name"]) == (target.kind, target.name)]
    assert len(found) == 1, f"{folder / patch.path}: there is no {target.kind} {target.name}"
    apply(found[0], operations)


def _image(image: str, overrides: Sequence[_Image]) -> str:
    name, _, tag = image.rpartition(":")
    for override in overrides:
        if override.name == name:
            return f"{override.new_name or name}:{override.new_tag or tag}"
    return image


def main(folder: str, output: str) -> None:
    """Writes the rendered resources."""
    resources = render(Path(folder))
    Path(output).mkdir(parents=True, exist_ok=True)
    for name, core in [("core", True), ("custom", False)]:
        chosen = [resource for resource in resources if is_core(resource) is core]
        (Path(output) / f"{name}.yaml").write_text(yaml.safe_dump_all(chosen, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
