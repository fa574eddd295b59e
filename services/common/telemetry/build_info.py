"""Says in the metrics which version of which service a process is."""

from __future__ import annotations

from prometheus_client import Gauge

from services.common.version import VERSION

BUILD_INFO = Gauge("tiermesh_build_info", "Always 1; the labels say what this process is.", ["version", "service"])


def tell_build(service: str) -> None:
    """Exports the version of this process, which is a `service`."""
    BUILD_INFO.labels(VERSION, service).set(1)
