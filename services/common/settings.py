"""Typed settings from the environment: `TIERMESH_<SERVICE>_<FIELD>`, with defaults that work on one machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

DEFAULT_CATALOG = Path(__file__).with_name("models.yaml")

# host:port; an IPv6 address stands in brackets.
Address = Annotated[str, msgspec.Meta(pattern=r":\d{1,5}$")]


class SettingsError(ValueError):
    """A setting is unknown or wrong; the message names it."""


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the mutual-TLS files are; all three paths set turns it on, none set turns it off."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def __post_init__(self) -> None:
        given = [bool(self.ca_file), bool(self.cert_file), bool(self.key_file)]
        if any(given) and not all(given):
            raise SettingsError("set all of TLS_CA_FILE, TLS_CERT_FILE and TLS_KEY_FILE, or none of them")

    @property
    def enabled(self) -> bool:
        """Whether connections are encrypted and both ends present a certificate."""
        return bool(self.ca_file)


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service can be told."""

    # Where the service listens, host:port; port 0 takes a free one.
    listen: Address = "127.0.0.1:0"
    # Where /metrics, /healthz and /readyz are served, host:port.
    admin_listen: Address = "127.0.0.1:0"
    # The catalog of models (models.yaml); the packaged one by default.
    catalog_file: str = str(DEFAULT_CATALOG)
    # How long running requests may take to finish after SIGTERM, in seconds.
    drain_seconds: float = 30.0
    # "console" for people, "json" for machines.
    log_format: str = "json"
    log_level: str = "info"
    tls_ca_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""

    @property
    def tls(self) -> TlsSettings:
        """The mutual-TLS files."""
        return TlsSettings(ca_file=self.tls_ca_file, cert_file=self.tls_cert_file, key_file=self.tls_key_file)


class EtcdServiceSettings(ServiceSettings, frozen=True, kw_only=True):
    """What a service that uses etcd can be told besides."""

    # Comma-separated host:port of etcd's members.
    etcd_endpoints: str = "127.0.0.1:2379"
    etcd_username: str = ""
    etcd_password: str = ""
    # Mutual TLS towards etcd; all three paths or none.
    etcd_ca_file: str = ""
    etcd_cert_file: str = ""
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
