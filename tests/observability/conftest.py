"""The real promtool and Prometheus."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.observability.definitions import ROOT
from tests.observability.observed import Observed


def _program(name: str) -> Path:
    found = shutil.which(name, path=str(ROOT / ".tools" / "bin")) or shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is needed: `make test` fetches it, and so does `make rules-check`")
    return Path(found)


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Where promtool is."""
    return _program("promtool")


@pytest.fixture(scope="session")
def prometheus_program() -> Path:
    """Where Prometheus is."""
    return _program("prometheus")


@pytest.fixture(scope="package")
def observed(tmp_path_factory: pytest.TempPathFactory, prometheus_program: Path) -> Iterator[Observed]:
    """A mesh that Prometheus reads; shared, because starting it takes long."""
    observed = Observed(tmp_path_factory.mktemp("observed"), prometheus_program)
    asyncio.run(observed.start())
    yield observed
    asyncio.run(observed.stop())
