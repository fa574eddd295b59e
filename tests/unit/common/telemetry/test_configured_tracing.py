"""Tracing costs nothing while it is off, and says what is missing if it cannot be on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from services.common.settings import ServiceSettings, SettingsError
from services.common.telemetry.configured_tracing import open_tracing


def test_nothing_is_loaded_while_it_is_off() -> None:
    assert open_tracing(ServiceSettings(), "edge") is None
    program = "import sys, services.edge.__main__; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "services.common.telemetry.open_telemetry")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(SettingsError, match=r"TIERMESH_EDGE_TRACING=otlp needs packages: .*'\.\[tracing\]'"):
        open_tracing(ServiceSettings(tracing="otlp"), "edge")
