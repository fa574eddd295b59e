"""Typed settings from the environment: `TIERMESH_<SERVICE>_<FIELD>`, with defaults that work on one machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from services.common.rpc.peer_names import caller_names, peer_name

DEFAULT_CATALOG = Path(__file__).with_name("models.yaml")

# host:port; an IPv6 address stands in brackets.
Address = Annotated[str, msgspec.Meta(pattern=r":\d{1,5}$")]


class SettingsError(ValueError):
    """A setting is unknown or wrong; the message names it."""


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of the files for mutual TLS. Setting all three turns it on; setting none turns it off."""

    # The authority's certificates.
    ca_file: str = ""
    # The certificate of this process.
    cert_file: str = ""
    # The private key of this certificate.
    key_file: str = ""
    # What follows the names of the mesh's parts in their certificates; empty if nothing does.
    domain: str = ""
    # The DNS names of the callers that a server accepts; None accepts every caller that the authority has certified.
    client_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        given = [bool(self.ca_file), bool(self.cert_file), bool(self.key_file)]
        if any(given) and not all(given):
            raise SettingsError("set all of TLS_CA_FILE, TLS_CERT_FILE and TLS_KEY_FILE, or none of them")

    @property
    def enabled(self) -> bool:
        """Whether connections are encrypted and both ends present a certificate."""
        return bool(self.ca_file)

    def name(self, role: str) -> str:
        """Returns the DNS name that the certificate of a part of the mesh must have."""
        return peer_name(role, self.domain)


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of every service."""

    # Where the service listens, host:port. Port 0 takes a free port.
    listen: Address = "127.0.0.1:0"
    # Where the service serves /metrics, /healthz and /readyz, host:port. Port 0 takes a free port.
    admin_listen: Address = "127.0.0.1:0"
    # The catalog of models.
    catalog_file: str = str(DEFAULT_CATALOG)
    # How long running requests may take to finish after SIGTERM. Unit: seconds.
    drain_seconds: float = 30.0
    # `json` for machines, `console` for people.
    log_format: str = "json"
    # The lowest level that is logged.
    log_level: str = "info"
    # Where spans of traced requests are sent: nowhere, or by OTLP to the address in OpenTelemetry's
    # `OTEL_EXPORTER_OTLP_*` variables.
    tracing: Literal["off", "otlp"] = "off"
    # The authority's certificates, for mutual TLS with the other parts of the mesh. Set all three files or none.
    # Replaced files take effect at once.
    tls_ca_file: str = ""
    # The certificate of this process, for mutual TLS.
    tls_cert_file: str = ""
    # The private key of this certificate.
    tls_key_file: str = ""
    # The domain of the names in the certificates: with `x`, the edge's name is tiermesh-edge.x.
    tls_domain: str = ""

    @property
    def tls(self) -> TlsSettings:
        """The mutual-TLS files."""
        return TlsSettings(
            ca_file=self.tls_ca_file, cert_file=self.tls_cert_file, key_file=self.tls_key_file, domain=self.tls_domain
        )


class GrpcServiceSettings(ServiceSettings, frozen=True, kw_only=True):
    """Further settings of a service that others call by gRPC."""

    # The callers that the service accepts under mutual TLS: comma-separated roles (edge, console, operator-console,
    # auth, billing, router, runner, payments, operator) and whole DNS names. The caller's certificate must contain one
    # of them as a DNS name.
    tls_client_names: str = "edge,console,operator-console,operator"

    @property
    def tls(self) -> TlsSettings:
        """The mutual-TLS files, and whom to serve; raises SettingsError."""
        try:
            names = caller_names(split_list(self.tls_client_names), self.tls_domain)
        except ValueError as error:
            raise SettingsError(f"TLS_CLIENT_NAMES is wrong: {error}") from error
        if not names:
            raise SettingsError("TLS_CLIENT_NAMES is empty, so that nobody could call; name at least one caller")
        return msgspec.structs.replace(super().tls, client_names=names)


class EtcdServiceSettings(GrpcServiceSettings, frozen=True, kw_only=True):
    """Further settings of a service that uses etcd."""

    # Comma-separated addresses of etcd's members, host:port each.
    etcd_endpoints: str = "127.0.0.1:2379"
    # The user in etcd; empty if etcd has no passwords.
    etcd_username: str = ""
    # The password of this user.
    etcd_password: str = ""
    # The authority's certificates, for mutual TLS with etcd. Set all three files or none.
    etcd_ca_file: str = ""
    # The certificate of this process, for mutual TLS with etcd.
    etcd_cert_file: str = ""
    # The private key of this certificate.
    etcd_key_file: str = ""

    @property
    def etcd_tls(self) -> TlsSettings:
        """The mutual-TLS files for etcd."""
        return TlsSettings(ca_file=self.etcd_ca_file, cert_file=self.etcd_cert_file, key_file=self.etcd_key_file)


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def load_settings(kind: type[SettingsT], service: str, environ: Mapping[str, str] | None = None) -> SettingsT:
    """Reads the settings of `service`, refusing names that no field has, so that a typo is never silently ignored."""
    environ = os.environ if environ is None else environ
    prefix = f"TIERMESH_{service.upper()}_"
    given = {name.removeprefix(prefix).lower(): value for name, value in environ.items() if name.startswith(prefix)}
    known = {field.name for field in msgspec.structs.fields(kind)}
    if unknown := sorted(given.keys() - known):
        names = ", ".join(prefix + name.upper() for name in unknown)
        raise SettingsError(f"no such setting: {names}. Known: {', '.join(prefix + n.upper() for n in sorted(known))}")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        # msgspec names the field: "… - at `$.drain_seconds`".
        message = re.sub(r"\$\.(\w+)", lambda match: prefix + match[1].upper(), str(error))
        raise SettingsError(f"a setting is wrong: {message}") from error


def split_list(value: str) -> list[str]:
    """Splits a comma-separated setting, such as a list of addresses, and drops empty parts."""
    return [part.strip() for part in value.split(",") if part.strip()]
