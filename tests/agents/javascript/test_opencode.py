"""opencode, run as its users do, with the configuration of docs/agents.md."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.agents.javascript.agent import MODULES, RIGHT, TASK, Desk, Finished, on_linux

pytestmark = on_linux

OPENCODE = MODULES / "opencode-linux-x64-baseline" / "bin" / "opencode"
# The request for a title offers no functions, so its rule is the one without calls.
SCRIPT = """
rules:
  - when: {role: user, contains: Correct the spelling}
    thought: I have to read the file first.
    content: I will read notes.txt.
    calls:
      - name: read
        arguments: {filePath: notes.txt}
  - when: {role: tool, contains: recieve}
    thought: The word is misspelled.
    calls:
      - name: edit
        arguments: {filePath: notes.txt, oldString: recieve, newString: receive}
  - when: {role: tool, contains: successfully}
    thought: That is all.
    content: The spelling is correct now.
  - when: {role: user, contains: Correct the spelling}
    content: Correcting a file
"""


def configure(
    desk: Desk, model: str, sdk: str = "@ai-sdk/openai-compatible", small: str = "tiermesh-pro", **options: Any
) -> None:
    config = {
        "model": f"tiermesh/{model}",
        "small_model": f"tiermesh/{small}",
        "provider": {
            "tiermesh": {
                "npm": sdk,
                "options": {"baseURL": f"{desk.proxy.url}/v1", "apiKey": desk.api_key},
                "models": {
                    model: {"limit": {"context": 131072, "output": 8192}, **options},
                    small: {"limit": {"context": 131072, "output": 8192}},
                },
            }
        },
        "autoupdate": False,
        "share": "disabled",
        "enabled_providers": ["tiermesh"],
    }
    path = desk.home / ".config" / "opencode" / "opencode.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(config))


async def run(desk: Desk, *options: str) -> Finished:
    # The last keeps it from looking for its plugins in the package registry.
    environ = {
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "npm_config_offline": "true",
    }
    return await desk.run(OPENCODE, "run", "--pure", *options, TASK, environ=environ)


def thoughts_of(message: Any) -> list[str]:
    """Returns what the assistant has thought, as chat completions or the Messages API have it."""
    if "reasoning_content" in message:
        return [message["reasoning_content"]]
    return [block["thinking"] for block in message["content"] if block["type"] == "thinking"]


@pytest.mark.parametrize(
    ("sdk", "path"), [("@ai-sdk/openai-compatible", "/v1/chat/completions"), ("@ai-sdk/anthropic", "/v1/messages")]
)
async def test_it_reads_and_corrects_a_file(desk: Desk, sdk: str, path: str) -> None:
    note = desk.misspelled_note()
    configure(desk, "tiermesh-max-think", sdk, reasoning=True)
    done = await run(desk, "--format", "json", "--thinking")
    assert done.code == 0, done.said
    assert note.read_text() == RIGHT
    parts = [json.loads(line)["part"] for line in done.output.splitlines()]
    thoughts = [part["text"] for part in parts if part["type"] == "reasoning"]
    assert thoughts == ["I have to read the file first.", "The word is misspelled.", "That is all."]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    assert texts == ["I will read notes.txt.", "The spelling is correct now."]
    exchanges = [exchange for exchange in desk.proxy.exchanges if exchange.body["model"] == "tiermesh-max-think"]
    assert [exchange.status for exchange in desk.proxy.requests(path)] == [200] * 4
    # What it thought comes back to the model.
    earlier = [message for message in exchanges[-1].body["messages"] if message["role"] == "assistant"]
    assert [thought for message in earlier for thought in thoughts_of(message)] == thoughts[:2]
    # It counts what the ledger counts, and the cheap model of `small_model` has named the conversation.
    used = {row["model"]: row for row in desk.account.mesh.command_now("usage", desk.account.account, "--by", "model")}
    counted = [part["tokens"] for part in parts if part["type"] == "step-finish"]
    assert sum(tokens["input"] for tokens in counted) == used["tiermesh-max-think"]["prompt_tokens"]
    spoken = sum(tokens["output"] + tokens["reasoning"] for tokens in counted)
    assert spoken == used["tiermesh-max-think"]["completion_tokens"]
    assert used["tiermesh-pro"]["charged_requests"] == 1
    assert desk.paid() == 3 * 20 + 10
    assert desk.proxy.elsewhere == []


async def test_an_unknown_model_is_an_error_that_it_shows(desk: Desk) -> None:
    configure(desk, "tiermesh-none", small="tiermesh-none")
    done = await run(desk)
    assert done.code == 1
    assert "The model 'tiermesh-none' does not exist" in done.said
    assert desk.paid() == 0
