"""The real promtool and Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.observability.observed import Observed
from tests.support import programs


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Where promtool is."""
    return programs.prometheus("promtool")


@pytest.fixture(scope="session")
def prometheus_program() -> Path:
    """Where Prometheus is."""
    return programs.prometheus()


@pytest.fixture(scope="package")
def observed(tmp_path_factory: pytest.TempPathFactory, prometheus_program: Path) -> Iterator[Observed]:
    """A mesh that Prometheus reads; shared, because starting it takes long."""
    observed = Observed(tmp_path_factory.mktemp("observed"), prometheus_program)
    asyncio.run(observed.start())
    yield observed
    asyncio.run(observed.stop())
