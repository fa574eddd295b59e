"""Claude Code, run as its users do, with the configuration of docs/agents.md."""

from __future__ import annotations

import json
from typing import Any

from tests.agents.javascript.agent import MODULES, RIGHT, TASK, Desk, Finished, on_linux
from tests.agents.javascript.conftest import CONTEXT
from tests.agents.javascript.recording_proxy import Exchange
from tests.support.waiting import eventually

pytestmark = on_linux

CLAUDE = MODULES / "@anthropic-ai" / "claude-code-linux-x64" / "claude"
# A story takes longer than the test waits before it presses Ctrl-C.
SPEED = 100
# After the task there is a message of the system, with what Claude Code knows of the machine.
SCRIPT = f"""
rules:
  - when: {{role: system, turn: 1}}
    thought: I have to read the file first.
    content: I will read notes.txt.
    calls:
      - name: Read
        arguments: {{file_path: notes.txt}}
  - when: {{role: tool, contains: I recieve mail}}
    thought: The word is misspelled.
    calls:
      - name: Edit
        arguments: {{file_path: notes.txt, old_string: recieve, new_string: receive}}
  - when: {{role: tool, contains: updated}}
    thought: That is all.
    content: The spelling is correct now.
  - when: {{turn: 1}}
    thought: It has to be long.
    content: {"Once upon a time there was a mail. " * 500}
"""


async def run(
    desk: Desk, *options: str, task: str = TASK, model: str = "tiermesh-max-think", key: str = "", **further: Any
) -> Finished:
    environ = {
        "ANTHROPIC_BASE_URL": desk.proxy.url,
        "ANTHROPIC_AUTH_TOKEN": key or desk.api_key,
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "tiermesh-pro",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(CONTEXT),
        "CLAUDE_CONFIG_DIR": str(desk.home / "claude"),
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
    }
    done = await desk.run(CLAUDE, "-p", *options, "--", task, environ=environ, **further)
    assert desk.proxy.elsewhere == []
    return done


def blocks(exchange: Exchange, kind: str) -> list[Any]:
    """Returns the blocks of a kind in the conversation that was sent."""
    contents = [message["content"] for message in exchange.body["messages"]]
    return [block for content in contents if isinstance(content, list) for block in content if block["type"] == kind]


async def test_it_reads_and_corrects_a_file(desk: Desk) -> None:
    note = desk.misspelled_note()
    done = await run(desk, "--output-format", "stream-json", "--verbose", "--allowedTools", "Read,Edit")
    assert done.code == 0, done.said
    assert note.read_text() == RIGHT
    lines = [json.loads(line) for line in done.output.splitlines()]
    said = [block for line in lines if line["type"] == "assistant" for block in line["message"]["content"]]
    thoughts = [block["thinking"] for block in said if block["type"] == "thinking"]
    assert thoughts == ["I have to read the file first.", "The word is misspelled.", "That is all."]
    texts = [block["text"] for block in said if block["type"] == "text"]
    assert texts == ["I will read notes.txt.", "The spelling is correct now."]
    exchanges = desk.proxy.requests("/v1/messages")
    assert [exchange.status for exchange in exchanges] == [200] * 3
    # Thoughts come back with their signatures, which were checked, and so do the calls with their results.
    returned = blocks(exchanges[-1], "thinking")
    assert [block["thinking"] for block in returned] == thoughts[:2]
    signatures = [event["delta"]["signature"] for one in exchanges[:2] for event in one.events if signed(event)]
    assert [block["signature"] for block in returned] == signatures
    assert [block["name"] for block in blocks(exchanges[-1], "tool_use")] == ["Read", "Edit"]
    assert len(blocks(exchanges[-1], "tool_result")) == 2
    # It counts what the ledger counts.
    result = lines[-1]
    (used,) = desk.account.mesh.command_now("usage", desk.account.account)
    assert (result["subtype"], result["num_turns"], result["is_error"]) == ("success", 3, False)
    assert result["usage"]["input_tokens"] == used["prompt_tokens"]
    assert result["usage"]["output_tokens"] == used["completion_tokens"]
    # It knows when to shorten the conversation.
    assert result["modelUsage"]["tiermesh-max-think"]["contextWindow"] == CONTEXT
    assert desk.paid() == 3 * 20


def signed(event: Any) -> bool:
    return "signature" in event.get("delta", {})


async def test_it_counts_the_tokens_of_its_context(desk: Desk) -> None:
    done = await run(desk, task="/context")
    assert done.code == 0, done.said
    assert "**Tokens:**" in done.output
    counted = desk.proxy.requests("/v1/messages/count_tokens")
    assert len(counted) > 10
    assert {exchange.status for exchange in desk.proxy.exchanges} == {200}
    assert all(json.loads(exchange.answer)["input_tokens"] > 0 for exchange in counted)
    assert desk.paid() == 0


async def test_an_interrupted_answer_is_charged(desk: Desk) -> None:
    async def speaks() -> None:
        await eventually(lambda: any(b"text_delta" in exchange.answer for exchange in desk.proxy.exchanges), 60)

    done = await run(desk, "--tools", "", interrupt=speaks)
    assert "Once upon a time" not in done.output
    (exchange,) = desk.proxy.requests("/v1/messages")
    assert b"message_stop" not in exchange.answer
    receipt = await desk.receipt(exchange)
    assert (receipt["status"], receipt["credits_charged"]) == ("client_left_late", 20)
    assert desk.paid() == 20


async def test_an_unknown_model_is_an_error_that_it_shows(desk: Desk) -> None:
    done = await run(desk, model="tiermesh-none")
    assert done.code == 1
    assert "issue with the selected model (tiermesh-none)" in done.output
    assert {exchange.status for exchange in desk.proxy.exchanges} == {404}
    assert desk.paid() == 0


async def test_without_credits_it_says_why_and_does_not_try_again(desk: Desk) -> None:
    done = await run(desk, key=desk.account.new_key("--monthly-cap", "1")["api_key"])
    assert done.code == 1
    assert "API key may spend at most 1 credits" in done.output
    assert [exchange.status for exchange in desk.proxy.exchanges] == [402]
    assert desk.paid() == 0


async def test_a_prompt_that_is_too_long_is_recognised(desk: Desk) -> None:
    (desk.project / "CLAUDE.md").write_text("Be kind. " * CONTEXT)
    done = await run(desk)
    assert done.code == 1
    assert done.output.startswith("Prompt is too long")
    assert f"(limit {CONTEXT})" in done.output
    assert desk.paid() == 0


async def test_a_wrong_key_is_not_tried_again(desk: Desk) -> None:
    done = await run(desk, key="sk-tiermesh-wrong")
    assert done.code == 1
    assert "Incorrect API key" in done.output
    assert [exchange.status for exchange in desk.proxy.exchanges] == [401]
