"""Codex as installed, with the configuration of docs/agents.md: a scripted model, real commands, files and tools."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.agents.codex.installed import Codex

MCP_SERVER = Path(__file__).with_name("mcp_server.py")
NOTES, CORRECTED = "I recieve mail.\nOften.\nToday.\n", "I receive mail.\nOften.\nToday.\n"
PATCH = "*** Begin Patch\n*** Update File: notes.txt\n@@\n-I recieve mail.\n+I receive mail.\n*** End Patch"
SHELL_PATCH = f"apply_patch <<'EOF'\n{PATCH}\nEOF"
SCRIPT = f"""
rules:
  - when: {{role: user, contains: Say hello}}
    thought: A greeting is asked for.
    content: Hello!
  - when: {{role: user, contains: How many lines}}
    thought: A command can count them.
    content: I will count.
    calls:
      - name: exec_command
        arguments: {{cmd: wc -l notes.txt}}
  - when: {{role: tool, contains: 3 notes.txt}}
    content: There are three lines.
  - when: {{role: user, contains: Correct the spelling}}
    calls:
      - name: apply_patch
        arguments: {{input: {json.dumps(PATCH)}}}
  - when: {{role: user, contains: Correct the spelling}}
    calls:
      - name: exec_command
        arguments: {{cmd: {json.dumps(SHELL_PATCH)}}}
  - when: {{role: tool, contains: M notes.txt}}
    content: It is correct now.
  - when: {{role: user, contains: the weather in Paris}}
    thought: There is a tool for that.
    calls:
      - name: mcp__weather__weather
        arguments: {{city: Paris}}
  - when: {{role: tool, contains: 18 degrees in Paris}}
    content: It is 18 degrees.
  - when: {{role: user, contains: Go on}}
    content: I go on.
"""
MCP = f"""
[mcp_servers.weather]
command = {json.dumps(sys.executable)}
args = [{json.dumps(str(MCP_SERVER))}]
"""
# What Codex knows of its own models, and a user can tell it of others.
CATALOG_MODEL: dict[str, Any] = {
    "slug": "tiermesh-max-think", "display_name": "tiermesh", "description": None, "default_reasoning_level": None,
    "supported_reasoning_levels": [], "shell_type": "shell_command", "visibility": "list", "supported_in_api": True,
    "priority": 1, "upgrade": None, "base_instructions": "Edit files with apply_patch.",
    "supports_reasoning_summaries": True, "support_verbosity": False, "default_verbosity": None,
    "apply_patch_tool_type": "freeform", "truncation_policy": {"mode": "bytes", "limit": 10000},
    "supports_parallel_tool_calls": True, "context_window": 131072, "experimental_supported_tools": [],
}  # fmt: skip


@pytest.fixture(autouse=True)
def notes(codex: Codex) -> Path:
    """A file in the project."""
    path = codex.project / "notes.txt"
    path.write_text(NOTES)
    return path


def test_a_plain_answer_and_its_thought(codex: Codex) -> None:
    done = codex.run("Say hello.")
    assert done.code == 0, done.errors
    assert done.texts("agent_message") == ["Hello!"]
    assert done.texts("reasoning") == ["A greeting is asked for."]
    (completed,) = [event for event in done.events if event["type"] == "turn.completed"]
    assert completed["usage"]["input_tokens"] > 1000
    assert codex.paid() == 20


def test_a_command_and_what_it_says(codex: Codex) -> None:
    done = codex.run("How many lines are in notes.txt?")
    assert done.code == 0, done.errors
    (command,) = [item for item in done.items if item["type"] == "command_execution"]
    assert (command["exit_code"], command["aggregated_output"]) == (0, "3 notes.txt\n")
    assert done.texts("agent_message") == ["I will count.", "There are three lines."]
    assert codex.paid() == 40


def test_a_tool_of_an_mcp_server(codex: Codex) -> None:
    codex.configure(tables=MCP)
    done = codex.run("What is the weather in Paris?")
    assert done.code == 0, done.errors
    (call,) = [item for item in done.items if item["type"] == "mcp_tool_call"]
    assert (call["server"], call["tool"], call["arguments"]) == ("weather", "weather", {"city": "Paris"})
    assert (call["status"], call["result"]["content"][0]["text"]) == ("completed", "It is 18 degrees in Paris.")
    assert done.texts("agent_message") == ["It is 18 degrees."]


@pytest.mark.parametrize("is_custom", [True, False], ids=["custom", "shell"])
def test_a_patch_changes_a_file(codex: Codex, notes: Path, *, is_custom: bool) -> None:
    if is_custom:
        # With a catalog Codex offers the patch as a custom tool with a grammar, otherwise as a command.
        catalog = codex.home / "models.json"
        catalog.write_text(json.dumps({"models": [CATALOG_MODEL]}))
        codex.configure(settings=f"model_catalog_json = {json.dumps(str(catalog))}")
    done = codex.run("Correct the spelling in notes.txt.")
    assert done.code == 0, done.errors
    assert notes.read_text() == CORRECTED
    assert done.texts("agent_message") == ["It is correct now."]
    changed = [change for item in done.items if item["type"] == "file_change" for change in item["changes"]]
    assert [(Path(change["path"]).name, change["kind"]) for change in changed] == [("notes.txt", "update")]


# What other services have said, as Codex keeps it.
ELSEWHERE: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAA"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "spelling"}},
    {"type": "local_shell_call", "call_id": "call_1", "status": "completed",
     "action": {"type": "exec", "command": ["ls"], "timeout_ms": None, "working_directory": None, "env": None,
                "user": None}},
    {"type": "function_call_output", "call_id": "call_1", "output": "notes.txt"},
    {"type": "custom_tool_call", "call_id": "call_2", "name": "apply_patch", "input": PATCH, "status": "completed"},
    {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Done!"},
    {"type": "function_call", "call_id": "call_3", "name": "weather", "namespace": "mcp__weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_3", "output": "18 degrees"},
    {"type": "agent_message", "author": "/root", "recipient": "/root/other",
     "content": [{"type": "input_text", "text": "Look at the notes."}]},
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AAAA"},
    {"type": "compaction", "encrypted_content": "gAAAAA"},
]  # fmt: skip


def test_a_conversation_that_began_elsewhere_goes_on(codex: Codex) -> None:
    assert codex.run("Say hello.").code == 0
    (record,) = codex.home.glob("sessions/**/*.jsonl")
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    for at, item in enumerate(ELSEWHERE, len(lines)):
        lines.append({**lines[-1], "ordinal": at, "type": "response_item", "payload": item})
    record.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = codex.run("resume", "--last", "Go on.")
    assert done.code == 0, done.errors
    assert done.texts("agent_message") == ["I go on."]
    assert codex.paid() == 40


def test_a_long_conversation_is_compacted(codex: Codex) -> None:
    codex.configure(settings="model_auto_compact_token_limit = 3000")
    assert codex.run("Say hello.").code == 0
    done = codex.run("resume", "--last", "Go on.")
    assert done.code == 0, done.errors
    assert done.texts("agent_message") == ["I go on."]
    # The summary is a request of its own.
    assert codex.paid() == 60


def test_a_prompt_that_is_too_long_is_an_error_that_it_knows(codex: Codex) -> None:
    done = codex.run("-", text="word " * 140_000)
    assert done.code == 1
    assert "ran out of room in the model's context window" in done.failure
    assert codex.paid() == 0


def test_what_the_service_refuses_is_shown(codex: Codex) -> None:
    account = codex.account.mesh.command_now("account", "create", "poor")["id"]
    poor = codex.account.mesh.command_now("key", "create", account, "--rpm", "0")["api_key"]
    hurried = codex.account.mesh.command_now("key", "create", codex.account.account, "--rpm", "1")["api_key"]
    codex.configure(provider="request_max_retries = 0\nstream_max_retries = 0")
    done = replace(codex, api_key=poor).run("Say hello.")
    assert (done.code, done.texts("agent_message")) == (1, [])
    assert "402 Payment Required: Not enough credits" in done.failure
    done = replace(codex, api_key=hurried).run("How many lines are in notes.txt?")
    assert (done.code, done.texts("agent_message")) == (1, ["I will count."])
    assert "429 Too Many Requests" in done.failure
    assert codex.paid() == 20


def test_a_socket_is_refused_and_it_goes_on_without(codex: Codex) -> None:
    codex.configure(provider="supports_websockets = true")
    done = codex.run("Say hello.")
    assert done.code == 0, done.errors
    assert done.texts("agent_message") == ["Hello!"]
    assert codex.paid() == 20
