"""One mesh with the real model for all tests of the public surface."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.support.mesh import LocalMesh


@pytest.fixture(scope="session")
def real_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """`tiermesh up` as a person starts it."""
    with LocalMesh(tmp_path_factory.mktemp("real"), "--engine", "llamacpp", tiers=()) as mesh:
        yield mesh


@pytest.fixture
def client(real_mesh: LocalMesh) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=real_mesh.base_url, api_key=real_mesh.unlimited_key, max_retries=0) as client:
        yield client
