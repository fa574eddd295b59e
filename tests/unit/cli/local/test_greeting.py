from __future__ import annotations

import ast
import json
import shlex
from pathlib import Path

import pytest

from services.cli.invocation import program, state_option
from services.cli.local.engines import LocalRunner
from services.cli.local.greeting import ChainGreeting, Greeting
from services.cli.state import StateDirectory
from services.common.catalog import load_catalog
from services.common.settings import DEFAULT_CATALOG

CHAIN = ChainGreeting(url="http://127.0.0.1:20007", chain_id=313_370_007, token="0x5F…", deposit_address="0xDe90517")


def greeting(*more: str, chain: ChainGreeting | None = None) -> str:
    catalog = load_catalog(DEFAULT_CATALOG)
    return str(
        Greeting(
            base_url="http://127.0.0.1:8000/v1",
            api_key="sk-tiermesh-1",
            account_id="acct_1",
            available=1_000_000,
            runners=(LocalRunner(tier="pro", engine="llamacpp", models=tuple(catalog.tier("pro")), slots=4),),
            more=more,
            catalog=catalog,
            state_directory=Path("/state"),
            logs=Path("/state/logs"),
            program=".venv/bin/tiermesh",
            option=" --state-dir /state",
            chain=chain,
        )
    )


def between(first: str, last: str) -> str:
    return greeting().split(first, 1)[1].split(last, 1)[0]


def test_the_facts_are_there() -> None:
    text = greeting()
    for fact in ("http://127.0.0.1:8000/v1", "sk-tiermesh-1", "acct_1, 1,000,000 credits ($10,000.00)", "Ctrl-C"):
        assert fact in text
    assert "status 503): tiermesh-max, tiermesh-max-think" in text
    assert ".venv/bin/tiermesh balance --state-dir /state\n" in text


def test_a_chain_is_shown_with_the_command_that_tops_up() -> None:
    text = greeting(chain=CHAIN)
    assert "chain     http://127.0.0.1:20007, chain ID 313370007" in text
    assert "deposits  0xDe90517" in text
    assert "\n  .venv/bin/tiermesh faucet acct_1 25 --state-dir /state\n" in text
    assert "faucet" not in greeting()


def test_what_else_could_be_served_is_one_line_if_there_is_anything() -> None:
    assert "\n  `make run-all` installs and starts more: embeddings, speech\n" in greeting("embeddings", "speech")
    assert "run-all" not in greeting()


def test_the_curl_line_survives_pasting() -> None:
    words = shlex.split(between("Try it:\n\n", "\n\nOr in Python").replace("\\\n", " "))
    assert words[:3] == ["curl", "-N", "http://127.0.0.1:8000/v1/chat/completions"]
    assert "Authorization: Bearer sk-tiermesh-1" in words
    body = json.loads(words[-1])
    assert (body["model"], body["stream"]) == ("tiermesh-pro", True)


def test_the_python_snippet_survives_pasting_into_an_interpreter() -> None:
    snippet = between("(pip install openai):\n\n", "Then,")
    # Without an empty line after the loop, an interpreter would wait for more.
    assert snippet.endswith("\n\n")
    ast.parse(snippet)


def test_advice_names_the_command_as_it_was_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "venv bin" / "tiermesh")])
    assert program() == "'venv bin/tiermesh'"
    monkeypatch.setattr("sys.argv", ["/somewhere/services/cli/__main__.py"])
    assert program() == "tiermesh"


def test_advice_names_the_state_directory_only_where_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERMESH_STATE_DIR", raising=False)
    assert state_option(StateDirectory(".state")) == ""
    assert state_option(StateDirectory("my state")) == " --state-dir 'my state'"
    assert state_option(StateDirectory("/elsewhere/state")) == " --state-dir /elsewhere/state"
    monkeypatch.setenv("TIERMESH_STATE_DIR", "my state")
    assert state_option(StateDirectory("my state")) == ""
