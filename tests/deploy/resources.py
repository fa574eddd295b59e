"""What a resource of Kubernetes is and holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Resource = dict[str, Any]

# The groups of the API that Kubernetes defines have no dot, or end so; a few of others end so too.
_OWN_SUFFIX = ".k8s.io"
_OTHERS = {"gateway.networking.k8s.io"}


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
