"""Cline's CLI, run as its users do, with the configuration of docs/agents.md."""

from __future__ import annotations

import json
from typing import Any

from tests.agents.javascript.agent import MODULES, RIGHT, TASK, Desk, Finished, on_linux

pytestmark = on_linux

CLINE = MODULES / "@cline" / "cli-linux-x64" / "bin" / "cline"
SCRIPT = """
rules:
  - when: {role: user, contains: Correct the spelling}
    thought: I have to read the file first.
    content: I will read notes.txt.
    calls:
      - name: read_files
        arguments: {files: [{path: notes.txt}]}
  - when: {role: tool, contains: I recieve mail, turn: 2}
    thought: The word is misspelled.
    calls:
      - name: editor
        arguments: {path: notes.txt, old_text: recieve, new_text: receive}
  - when: {role: tool, contains: Edited}
    thought: That is all.
    content: The spelling is correct now.
"""


async def run(desk: Desk, model: str) -> Finished:
    settings = desk.home / ".cline" / "data" / "settings" / "global-settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"telemetryOptOut": True, "autoUpdateEnabled": False}))
    account = ["-p", "openai", "-b", f"{desk.proxy.url}/v1", "-k", desk.api_key, "-m", model]
    known = await desk.run(CLINE, "auth", *account)
    assert known.code == 0, known.said
    # Otherwise it starts a daemon that outlives it.
    environ = {"CLINE_SESSION_BACKEND_MODE": "local"}
    return await desk.run(CLINE, "--json", "--auto-approve", "true", TASK, environ=environ)


def events(done: Finished) -> list[Any]:
    lines = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line["type"] == "agent_event"]


async def test_it_reads_and_corrects_a_file(desk: Desk) -> None:
    note = desk.misspelled_note()
    done = await run(desk, "tiermesh-max-think")
    assert done.code == 0, done.said
    assert note.read_text() == RIGHT
    ended = [event for event in events(done) if event["type"] == "content_end"]
    thoughts = [event["reasoning"] for event in ended if event["contentType"] == "reasoning"]
    assert thoughts == ["I have to read the file first.", "The word is misspelled.", "That is all."]
    texts = [event["text"] for event in ended if event["contentType"] == "text"]
    assert texts == ["I will read notes.txt.", "The spelling is correct now."]
    exchanges = desk.proxy.requests("/v1/chat/completions")
    assert [exchange.status for exchange in exchanges] == [200] * 3
    # What it thought comes back to the model.
    thought = [m["reasoning_content"] for m in exchanges[-1].body["messages"] if m["role"] == "assistant"]
    assert thought == thoughts[:2]
    # It counts what the ledger counts.
    counted = [event for event in events(done) if event["type"] == "usage"][-1]
    (used,) = desk.account.mesh.command_now("usage", desk.account.account)
    assert counted["totalInputTokens"] == used["prompt_tokens"]
    assert counted["totalOutputTokens"] == used["completion_tokens"]
    assert desk.paid() == 3 * 20
    # Without telemetry, it still asks for its feature flags, which no setting prevents, and goes on without them.
    assert set(desk.proxy.elsewhere) <= {"data.cline.bot:443"}


async def test_an_unknown_model_is_an_error_that_it_shows(desk: Desk) -> None:
    done = await run(desk, "tiermesh-none")
    assert done.code != 0
    assert "The model 'tiermesh-none' does not exist" in done.said
    assert desk.paid() == 0
