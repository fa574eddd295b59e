"""Tracing as the settings ask for it. OpenTelemetry is loaded only if it is on."""

from __future__ import annotations

from services.common.extras import how_to_install
from services.common.settings import ServiceSettings, SettingsError
from services.common.telemetry.tracing import Tracing


def open_tracing(settings: ServiceSettings, service: str, *, ratio: float = 1.0) -> Tracing | None:
    """Returns what the settings ask for, None if tracing is off; raises SettingsError if a package is missing.

    `ratio` is the part of the requests that are recorded, of those for which no caller has decided it.
    """
    if settings.tracing == "off":
        return None
    try:
        from services.common.telemetry.open_telemetry import OtlpTracing
    except ImportError as error:
        raise SettingsError(
            f"TIERMESH_{service.upper()}_TRACING=otlp needs packages: {how_to_install('tracing')}"
        ) from error
    return OtlpTracing(f"tiermesh-{service}", ratio)
