"""LangChain.js and LangGraph.js: agents that a program builds, by chat completions and by the Responses API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.agents.javascript.agent import RIGHT, TASK, Desk
from tests.support import programs

SAMPLES = Path(__file__).parent / "samples"
THANKS = "Thank you. What did you do?"
WEATHER = "What is the weather in Paris?"
SCRIPT = """
rules:
  - when: {role: user, contains: Correct the spelling}
    content: I will read notes.txt.
    calls:
      - name: read_note
        arguments: {path: notes.txt}
  - when: {role: tool, contains: recieve}
    calls:
      - name: write_note
        arguments: {path: notes.txt, text: "I receive mail.\\n"}
  - when: {role: tool, contains: wrote notes.txt}
    content: The spelling is correct now.
  - when: {role: user, contains: What did you do, turn: 4}
    content: I wrote notes.txt.
  - when: {role: user, contains: weather}
    thought: There is a function for that.
    calls:
      - name: get_weather
        arguments: {city: Paris}
  - when: {role: tool, contains: 18 degrees in Paris}
    thought: The function has answered.
    content: It is 18 degrees in Paris.
"""


async def run_sample(desk: Desk, name: str, model: str, **environ: str) -> Any:
    settings = {"BASE_URL": f"{desk.proxy.url}/v1", "API_KEY": desk.api_key, "MODEL": model, **environ}
    done = await desk.run(programs.node(), SAMPLES / f"{name}.js", environ=settings)
    assert done.code == 0, done.said
    return json.loads(done.output)


async def test_a_graph_reads_and_corrects_a_file(desk: Desk) -> None:
    note = desk.misspelled_note()
    answer = await run_sample(desk, "langgraph-agent", "tiermesh-max", QUESTIONS=json.dumps([TASK, THANKS]))
    assert note.read_text() == RIGHT
    assert answer["roles"] == ["human", "ai", "tool", "ai", "tool", "ai", "human", "ai"]
    assert answer["texts"] == ["I will read notes.txt.", "", "The spelling is correct now.", "I wrote notes.txt."]
    # The answers came in pieces, and each with its usage.
    assert "".join(answer["pieces"]) == "".join(answer["texts"])
    assert len(answer["pieces"]) > 10
    usage = desk.account.mesh.command_now("usage", desk.account.account)
    assert [sum(u[f"{kind}_tokens"] for u in answer["usage"]) for kind in ("input", "output")] == [
        usage[0]["prompt_tokens"],
        usage[0]["completion_tokens"],
    ]
    assert [exchange.status for exchange in desk.proxy.requests("/v1/chat/completions")] == [200] * 4
    assert desk.paid() == 4 * 15
    assert desk.proxy.elsewhere == []


async def test_an_agent_by_the_responses_api_thinks_and_calls(desk: Desk) -> None:
    messages = await run_sample(desk, "langchain-agent", "tiermesh-max-think", QUESTION=WEATHER)
    assert [message["type"] for message in messages] == ["human", "ai", "tool", "ai"]
    assert [call["args"] for call in messages[1]["calls"]] == [{"city": "Paris"}]
    assert messages[-1]["text"] == "It is 18 degrees in Paris."
    first, second = desk.proxy.requests("/v1/responses")
    assert [first.status, second.status] == [200, 200]
    shown = [block["reasoning"] for block in messages[1]["blocks"] if block["type"] == "reasoning"]
    assert shown == ["There is a function for that."]
    # What it thought comes back to the model.
    thoughts = [item["summary"][0]["text"] for item in second.body["input"] if item["type"] == "reasoning"]
    assert thoughts == shown
    assert desk.paid() == 2 * 20


async def test_no_credits_are_an_error_of_its_own(desk: Desk) -> None:
    poor = desk.account.new_key("--monthly-cap", "1")["api_key"]
    error = await run_sample(desk, "langchain-error", "tiermesh-max", API_KEY=poor)
    assert error["status"] == 402
    assert "cap" in error["message"]
    # It is final, so it is not tried again.
    assert len(desk.proxy.exchanges) == 1
    assert desk.paid() == 0
