from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def brief_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    """No collector takes the spans of these tests, and nobody waits long for one."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.05")
