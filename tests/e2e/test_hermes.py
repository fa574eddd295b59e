"""Hermes agent, run as its users run it, with the configuration of docs/agents.md.

The simulated engine answers by a script: the instructions of an agent take a small model minutes to read on two cores.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh

# An environment of its own, which `make test` makes: its pins exclude ours.
HERMES = Path(__file__).parents[2] / ".venv-hermes" / "bin" / "hermes"
CONFIG = """
model:
  default: tiermesh-max
  provider: custom
  base_url: {base_url}
  api_key: {api_key}
  context_length: 65536
auxiliary:
  compression:
    context_length: 65536
"""
# It saves a fact with its own tool, and says so once the tool has.
SCRIPT = """
rules:
  - when: {role: user, contains: hello}
    content: I will keep that in mind.
    calls:
      - name: memory
        arguments: {action: add, target: user, content: The user says hello in lower case.}
  - when: {role: tool, matches: '"success": ?true'}
    content: Hello! I have written down how you greet.
"""
SAVED = "The user says hello in lower case."


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    directory = tmp_path_factory.mktemp("hermes")
    script = directory / "script.yaml"
    script.write_text(SCRIPT)
    environ = {"TIERMESH_RUNNER_SIMULATED_SCRIPT": str(script), "TIERMESH_RUNNER_CONTEXT": "65536"}
    with LocalMesh(directory, tiers=("max",), environ=environ) as mesh:
        yield mesh


def run_hermes(home: Path, mesh: LocalMesh, api_key: str) -> subprocess.CompletedProcess[str]:
    (home / "config.yaml").write_text(CONFIG.format(base_url=mesh.base_url, api_key=api_key))
    options = ["-m", "tiermesh-max", "--provider", "custom", "--ignore-rules"]
    # No other key may be found.
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return subprocess.run(
        [HERMES, "-z", "hello", *options],
        capture_output=True,
        text=True,
        timeout=stretched(110),
        env={**environ, "HERMES_HOME": str(home)},
        check=False,
    )


def test_it_answers_through_the_mesh(mesh: LocalMesh, tmp_path: Path) -> None:
    done = run_hermes(tmp_path, mesh, mesh.unlimited_key)
    assert done.returncode == 0, done.stderr
    assert "Hello! I have written down how you greet." in done.stdout
    assert SAVED in "".join(path.read_text() for path in tmp_path.glob("memories/*.md"))
    (used,) = mesh.command_now("usage", mesh.account_id)
    # It also asks for a title of the conversation, and leaves without waiting for it.
    assert used["charged_requests"] >= 2
    # Its instructions and its tools have reached the model.
    assert used["prompt_tokens"] > 10_000


def test_a_wrong_key_is_an_error_that_it_shows(mesh: LocalMesh, tmp_path: Path) -> None:
    done = run_hermes(tmp_path, mesh, "sk-tiermesh-wrong")
    assert "API key" in done.stdout + done.stderr
