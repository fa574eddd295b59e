"""aider, run as its users run it, with the configuration of docs/agents.md.

Its loop is an edit, a commit and a test, and again an edit if the test fails.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents.python.conftest import CONTEXT
from tests.agents.python.customer import Customer
from tests.agents.python.environment import Home, program, run

METADATA = {
    f"openai/{model}": {
        "max_input_tokens": CONTEXT,
        "max_output_tokens": CONTEXT,
        "input_cost_per_token": 0,
        "output_cost_per_token": 0,
        "litellm_provider": "openai",
        "mode": "chat",
    }
    for model in ("tiermesh-max", "tiermesh-max-think")
}
OPTIONS = (
    "--yes-always", "--analytics-disable", "--no-check-update", "--no-show-release-notes", "--no-pretty",
    "--no-gitignore", "--no-detect-urls", "--no-suggest-shell-commands", "--map-tokens", "0",
    "--model-metadata-file", "metadata.json",
)  # fmt: skip
CHECK = """
from greet import greet

assert greet("Ann") == "Hello, Ann", "the greeting has no name"
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A repository with one file, which is the home directory as well."""
    (tmp_path / "greet.py").write_text('def greet():\n    return "Hello"\n')
    (tmp_path / "check.py").write_text(CHECK)
    (tmp_path / "metadata.json").write_text(json.dumps(METADATA))
    (tmp_path / ".gitconfig").write_text("[user]\nname = Ann\nemail = ann@example.com\n")
    home = Home(tmp_path)
    git(home, "init", "--quiet")
    git(home, "add", "greet.py", "check.py")
    git(home, "commit", "--quiet", "--message", "Greet")
    return home


def git(home: Home, *arguments: str) -> str:
    done = run(["git", *arguments], home.environ(), directory=home.directory)
    assert done.returncode == 0, done.stderr
    return done.stdout


def aider(home: Home, customer: Customer, *options: str) -> subprocess.CompletedProcess[str]:
    environ = home.environ(
        OPENAI_API_BASE=customer.base_url,
        OPENAI_API_KEY=customer.api_key,
        # Without it, aider's library asks for a list of prices whenever it starts.
        LITELLM_LOCAL_MODEL_COST_MAP="True",
    )
    command: list[str | Path] = [program("aider", "aider"), *OPTIONS, *options, "greet.py"]
    return run(command, environ, directory=home.directory)


def test_it_edits_commits_and_tests_until_the_test_passes(home: Home, new_customer: Callable[..., Customer]) -> None:
    customer = new_customer()
    models = ["--model", "openai/tiermesh-max-think", "--weak-model", "openai/tiermesh-max"]
    tests = ["--auto-test", "--test-cmd", f"{program('aider')} check.py"]
    done = aider(home, customer, *models, *tests, "--message", "Greet people by their names.")
    assert done.returncode == 0, done.stderr
    assert (home.directory / "greet.py").read_text() == 'def greet(name):\n    return f"Hello, {name}"\n'
    assert git(home, "log", "--format=%s").splitlines() == ["fix: use the name", "feat: take a name", "Greet"]
    # It shows thoughts apart from answers.
    assert "THINKING" in done.stdout
    assert done.stdout.index("The function takes no name yet.") < done.stdout.index("I add the name.")
    # Two edits of the thinking model, and two messages of commits of the other.
    used = customer.used
    assert (used.charged_requests, used.credits) == (4, 2 * 20 + 2 * 15)
    assert home.attempts == []


def test_a_prompt_that_is_too_long_is_an_error_that_it_shows(home: Home, new_customer: Callable[..., Customer]) -> None:
    (home.directory / "long.txt").write_text("word " * 2 * CONTEXT)
    customer = new_customer()
    done = aider(home, customer, "--model", "openai/tiermesh-max", "--read", "long.txt", "--message", "Greet.")
    assert "has hit a token limit" in done.stdout + done.stderr
    assert customer.used.charged_requests == 0
    assert home.attempts == []
