"""One mesh with the real model for all tests of the public surface.

A mesh that is shared ends with this folder's last test, because idle ones slow down what runs beside them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import yaml

from services.common.settings import DEFAULT_CATALOG
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

TORCH_PYTHON = Path(__file__).parents[2] / ".venv-torch" / "bin" / "python"
# Prompt and answer together, where answers have no other bound.
SHORT_CONTEXT = 400


@pytest.fixture(scope="package")
def real_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """`tiermesh up` as a person starts it."""
    with LocalMesh(tmp_path_factory.mktemp("real"), "--engine", "llamacpp", tiers=()) as mesh:
        yield mesh


@pytest.fixture(scope="package")
def sample_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """The same with chat models of a short context: samples that set no bound run as they are, and yet end soon."""
    directory = tmp_path_factory.mktemp("samples")
    catalog = yaml.safe_load(DEFAULT_CATALOG.read_text())
    for model in catalog["models"]:
        if model["kind"] == "chat":
            model["context"] = SHORT_CONTEXT
    path = directory / "models.yaml"
    path.write_text(yaml.safe_dump(catalog))
    with LocalMesh(directory, "--engine", "llamacpp", "--models", str(path), tiers=("pro", "max")) as mesh:
        yield mesh


@pytest.fixture(scope="package")
def image_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """A mesh that paints: its image runner is started in the environment that has torch, as an operator would."""
    directory = tmp_path_factory.mktemp("images")
    environ = {"TIERMESH_EDGE_IMAGE_SIZE": "64x64", "TIERMESH_EDGE_IMAGE_MOST_PIXELS": str(256 * 256)}
    with LocalMesh(directory, environ=environ) as mesh:
        fields = {"engine": "diffusers", "tier": "image", "slots": "1", **mesh.etcd_settings}
        runner = ServiceProcess("runner", directory, fields | mesh.tls_settings("runner"), python=str(TORCH_PYTHON))
        asyncio.run(runner.start())
        try:
            asyncio.run(eventually(lambda: {runner["tier"] for runner in mesh.command_now("runners")} >= {"image"}))
            yield mesh
        finally:
            asyncio.run(runner.kill())


@pytest.fixture
def client(real_mesh: LocalMesh) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=real_mesh.base_url, api_key=real_mesh.unlimited_key, max_retries=0) as client:
        yield client
