"""The parts of other projects' resources that deploy/k8s uses, strictly: a field that is not named here is refused.

kubernetes-validate knows only what Kubernetes itself defines. The fields are those of the references of cert-manager
(v1), KEDA (v1alpha1) and the Gateway API (v1).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class _Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    pass


class IssuerReference(_Strict):
    name: str
    kind: Literal["Issuer", "ClusterIssuer"]


class PrivateKey(_Strict):
    algorithm: Literal["ECDSA", "RSA", "Ed25519"]
    size: int
    rotation_policy: Literal["Always", "Never"] = "Always"


class CertificateSpec(_Strict):
    secret_name: str
    common_name: str
    duration: str
    renew_before: str
    private_key: PrivateKey
    issuer_ref: IssuerReference
    dns_names: list[str] = []
    usages: list[Literal["server auth", "client auth"]] = []
    is_ca: bool = msgspec.field(default=False, name="isCA")


class Authority(_Strict):
    secret_name: str


class IssuerSpec(_Strict):
    self_signed: dict[str, str] | None = None
    ca: Authority | None = None


class ScaleTarget(_Strict):
    api_version: Literal["apps/v1"]
    kind: Literal["Deployment"]
    name: str


class PrometheusQuery(_Strict):
    server_address: str
    query: str
    # KEDA takes strings for numbers and truths.
    threshold: str
    activation_threshold: str
    ignore_null_values: Literal["true", "false"]


class Trigger(_Strict):
    type: Literal["prometheus"]
    metadata: PrometheusQuery


class AutoscalerConfig(_Strict):
    behavior: dict[str, Any]


class Advanced(_Strict):
    horizontal_pod_autoscaler_config: AutoscalerConfig


class ScaledObjectSpec(_Strict):
    scale_target_ref: ScaleTarget
    min_replica_count: int
    max_replica_count: int
    polling_interval: int
    cooldown_period: int
    advanced: Advanced
    triggers: list[Trigger]


SPECS: dict[tuple[str, str], type[_Strict]] = {
    ("cert-manager.io/v1", "Certificate"): CertificateSpec,
    ("cert-manager.io/v1", "Issuer"): IssuerSpec,
    ("keda.sh/v1alpha1", "ScaledObject"): ScaledObjectSpec,
}
