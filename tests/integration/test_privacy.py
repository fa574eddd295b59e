"""Canaries: what customers send and get is found nowhere afterwards, whatever way their requests took.

Unique strings stand in prompts, tools, images and keys. After a tour of success and of every failure, all files of the
mesh (logs, databases and their write-ahead logs, etcd's data), all metrics and all error bodies are searched for them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from services.common.receipts import base64url
from services.common.receipts.finding import covered, find_token
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh

SERVICES = ("auth", "billing", "router", "runner", "edge")
SETTINGS = {
    # Everything that a service can say, it says.
    **{f"TIERMESH_{service.upper()}_LOG_LEVEL": "debug" for service in SERVICES},
    "TIERMESH_EDGE_MAX_BODY_BYTES": "100000",
    "TIERMESH_EDGE_CALL_TIMEOUT": "2",
    "TIERMESH_RUNNER_SIMULATED_SPEED": "50",
}
PATIENT_SECONDS = 30
# Of what signs receipts, in the directory of the mesh.
KEYS = Path("receipt-keys.json")


def canary(kind: str) -> str:
    """Returns a word that exists nowhere else, such as `canaryprompt4f…`."""
    return f"canary{kind}{secrets.token_hex(12)}"


PROMPT, TOOL, IMAGE, SCHEMA, STOP = (canary(kind) for kind in ("prompt", "tool", "image", "schema", "stop"))
WRONG_KEY = "sk-tiermesh-" + canary("key")
DATA_URL = f"data:image/png;base64,{IMAGE}"


@dataclass
class Evidence:
    """What the tour has left behind, and what must not be in it."""

    # By the name of what it protects.
    secrets: dict[str, list[bytes]] = field(default_factory=dict)
    # By the name of the place, such as a path.
    places: dict[str, bytes] = field(default_factory=dict)
    errors: dict[str, bytes] = field(default_factory=dict)
    statuses: set[int] = field(default_factory=set)

    def leaks(self, places: dict[str, bytes]) -> list[str]:
        """Says what was found where."""
        return [
            f"{name} in {place}: …{content[max(0, content.find(secret) - 200) :][:400]!r}"
            for place, content in places.items()
            for name, found in self.secrets.items()
            for secret in found
            if secret in content
        ]


class Tour:
    """Takes every way that a request can take."""

    def __init__(self, mesh: LocalMesh) -> None:
        self.mesh = mesh
        self.evidence = Evidence()
        self.key = self.new_key()
        self._http = httpx2.Client(timeout=stretched(PATIENT_SECONDS))
        signing = json.loads((mesh.state_dir / KEYS).read_bytes())["keys"][0]["d"]
        self.evidence.secrets["signing key"] = [signing.encode(), base64url.decode(signing)]
        sent = {"prompt": PROMPT, "tool": TOOL, "image": IMAGE, "schema": SCHEMA, "stop": STOP}
        self.evidence.secrets |= {name: [text.encode()] for name, text in sent.items()}
        self.evidence.secrets["wrong key"] = [WRONG_KEY.encode()]

    def new_key(self, *options: str) -> str:
        """Returns a new key of the local account, which is a secret from then on."""
        key = str(self.mesh.command_now("key", "create", *(options or ("--rpm", "0")))["api_key"])
        # All of it after "sk-tiermesh-"; it may hold further dashes.
        self.evidence.secrets.setdefault("key", []).append(key.split("-", 2)[2].encode())
        return key

    def ask(
        self, name: str, body: Any, *, key: str = "", content: bytes | None = None, path: str = "/chat/completions"
    ) -> httpx2.Response:
        """Makes a request; the body of an error is evidence."""
        content = content if content is not None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
        response = self._http.post(self.mesh.base_url + path, content=content, headers=headers)
        self.evidence.statuses.add(response.status_code)
        if response.status_code != 200:
            self.evidence.errors[name] = response.content
        elif path == "/chat/completions":
            self.keep_proof(content, response)
        return response

    def keep_proof(self, request: bytes, response: httpx2.Response) -> None:
        """What proves an answer is for its client alone: the receipt, and the digests in it."""
        streamed = "stream" in response.headers["content-type"]
        receipt = find_token(response.content) if streamed else response.headers["x-tiermesh-receipt"]
        claims = json.loads(base64url.decode(receipt.split(".")[1]))
        assert claims["request_sha256"] == hashlib.sha256(request).hexdigest()
        self.evidence.secrets.setdefault("receipt", []).append(receipt.rpartition(".")[2].encode())
        for digest in (claims["request_sha256"], claims["answer_sha256"]):
            raw = bytes.fromhex(digest)
            self.evidence.secrets.setdefault("digest", []).extend([digest.encode(), raw, base64.b64encode(raw)[:-1]])

    def ask_message(self, name: str, body: Any, *, key: str = "") -> httpx2.Response:
        """The same for Anthropic's Messages API, with the key in its header."""
        headers = {"x-api-key": key or self.key}
        response = self._http.post(self.mesh.base_url + "/messages", json=body, headers=headers)
        self.evidence.statuses.add(response.status_code)
        if response.status_code != 200:
            self.evidence.errors[f"message {name}"] = response.content
        return response

    def succeed(self) -> None:
        """Whole and streamed answers; their words are secrets, too."""
        whole = self.ask("whole", body(max_tokens=40)).json()["choices"][0]["message"]["content"]
        words = whole.split()
        # Three words in a row occur by chance nowhere.
        self.evidence.secrets["answer"] = [" ".join(words[at : at + 3]).encode() for at in range(len(words) - 2)]
        streamed = self.ask("stream", body(max_tokens=40, stream=True)).content
        assert covered(streamed).endswith(b"data: [DONE]\n\n")
        tools = [{"type": "function", "function": {"name": TOOL, "description": TOOL, "parameters": {}}}]
        assert self.ask("tools", body(tools=tools, max_tokens=3)).status_code == 200
        assert self.ask("tokens", body(tools=tools), path="/tokenize").status_code == 200
        # Arguments need not be JSON.
        result = {"role": "tool", "tool_call_id": TOOL, "content": TOOL}
        assert self.ask("earlier call", body(messages=[calling(TOOL), result], max_tokens=3)).status_code == 200
        assert self.ask_message("whole", message(system=PROMPT, stop_sequences=[STOP])).status_code == 200
        assert "message_stop" in self.ask_message("stream", message(stream=True)).text
        assert self.ask_message("earlier call", message(messages=USED)).status_code == 200

    def be_refused(self) -> None:
        """Every refusal that needs no damage."""
        for name, wrong in wrong_bodies().items():
            assert self.ask(f"400 {name}", wrong).status_code == 400, name
        for name, content in malformed_bodies().items():
            assert self.ask(f"400 {name}", None, content=content).status_code == 400, name
        for name, wrong in wrong_messages().items():
            assert self.ask_message(f"400 {name}", wrong).status_code == 400, name
        assert self.ask_message("401", message(), key=WRONG_KEY).status_code == 401
        assert self.ask_message("402", message(), key=self.poor_key()).status_code == 402
        assert self.ask_message("529", message(model="tiermesh-max")).status_code == 529
        assert self.ask("401", body(), key=WRONG_KEY).status_code == 401
        assert self.ask("402", body(), key=self.poor_key()).status_code == 402
        assert self.ask("404", body(model="nothing")).status_code == 404
        assert self.ask("413", body(messages=[user(PROMPT * 10_000)])).status_code == 413
        limited = self.new_key("--rpm", "1")
        assert self.ask("200", body(max_tokens=1), key=limited).status_code == 200
        assert self.ask("429", body(), key=limited).status_code == 429
        assert self.ask("503", body(model="tiermesh-max")).status_code == 503
        assert self.ask("503 tokens", body(model="tiermesh-max"), path="/tokenize").status_code == 503
        assert self.ask("400 tokens", body(prompt=PROMPT), path="/tokenize").status_code == 400
        self.send_raw()

    def send_raw(self) -> None:
        """HTTP that is not HTTP, with secrets in it."""
        host, _, port = self.mesh.base_url.removeprefix("http://").removesuffix("/v1").partition(":")
        for name, head in raw_requests().items():
            with socket.create_connection((host, int(port)), timeout=stretched(10)) as connection:
                connection.sendall(head)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.0 400 "), name
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request", name
            self.evidence.errors[f"raw {name}"] = answer

    def poor_key(self) -> str:
        """A key of an account without credits."""
        account = self.mesh.command_now("account", "create", "poor")["id"]
        return self.new_key(account, "--rpm", "0")

    async def be_hurt(self) -> None:
        """Processes die while answers are under way."""
        for service in ("runner-pro", "edge", "billing", "auth", "router"):
            self.stream_through_death_of(service)
            await self.mesh.until_serving()
        pid = self.mesh.kill("billing")
        self.ask("billing is away", body(max_tokens=2))
        await self.mesh.until_restarted("billing", pid)
        await self.mesh.until_serving()

    def stream_through_death_of(self, service: str) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        url = self.mesh.base_url + "/chat/completions"
        pieces: list[bytes] = []
        with (
            contextlib.suppress(httpx2.TransportError),
            self._http.stream("POST", url, json=body(stream=True, max_tokens=60), headers=headers) as response,
        ):
            for piece in response.iter_bytes():
                if not pieces:
                    self.mesh.kill(service)
                pieces.append(piece)
        # An answer's own words are no leak, so only the frame of an error is kept.
        errors = [event for event in b"".join(pieces).split(b"\n\n") if b'"error"' in event]
        self.evidence.errors[f"{service} killed"] = b"".join(errors)

    def collect(self, when: str) -> None:
        """Takes everything that the mesh has written so far."""
        paths = [self.mesh.output_file, *(path for path in self.mesh.state_dir.rglob("*") if path.is_file())]
        for path in paths:
            # They hold the local key, which the greeting shows as well, and the key that signs receipts.
            if path.name not in {"credentials.json", KEYS.name}:
                self.evidence.places[f"{path} {when}"] = path.read_bytes()

    def collect_metrics(self) -> None:
        """Takes every metrics page."""
        for service, url in self.mesh.metrics.items():
            self.evidence.places[f"metrics of {service}"] = self._http.get(url).content


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "tiermesh-pro", "messages": [user(f"What do you think of {PROMPT} then?")], **fields}


def function(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": TOOL, **fields}}


def calling(arguments: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"id": TOOL, "function": {"name": TOOL, "arguments": arguments}}]}


def wrong_bodies() -> dict[str, Any]:
    """Bodies that are JSON, but wrong where a secret stands."""
    image = {"type": "image_url", "image_url": {"url": DATA_URL}}
    no_text = {"type": "string", "pattern": f"^{SCHEMA}$", "maxLength": 3}
    never = {"type": "object", "properties": {TOOL: no_text}, "required": [TOOL]}
    impossible = {"type": "json_schema", "json_schema": {"name": SCHEMA, "schema": no_text}}
    wrong: dict[str, Any] = {
        "role": body(messages=[{"role": PROMPT, "content": PROMPT}]),
        "content is an object": body(messages=[user({PROMPT: PROMPT})]),
        "content is missing": body(messages=[{"role": "user", "name": PROMPT}]),
        "content part": body(messages=[user([{"type": PROMPT, "text": PROMPT}])]),
        "content part without type": body(messages=[user([{PROMPT: PROMPT}])]),
        "messages": body(messages=PROMPT),
        "message": body(messages=[PROMPT]),
        "body": [PROMPT],
        "body is a string": PROMPT,
        "model": {"model": [PROMPT], "messages": [user(PROMPT)]},
        "temperature": body(temperature=PROMPT),
        "stream": body(stream=PROMPT),
        "seed": body(seed=PROMPT),
        "too many stops": body(stop=[STOP] * 5),
        "stop is an object": body(stop={STOP: STOP}),
        "stop too long": body(stop=[STOP * 20]),
        "logit bias": body(logit_bias={PROMPT: 1}),
        "logit bias value": body(logit_bias={"1": PROMPT}),
        "response format": body(response_format={"type": SCHEMA}),
        "response format that no text has": body(response_format=impossible),
        "schema": body(response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}}),
        "tool type": body(tools=[{"type": TOOL, "function": {"name": TOOL}}]),
        "tool name": body(tools=[{"type": "function", "function": {"name": TOOL + "!"}}]),
        "tool parameters": body(tools=[function(parameters=TOOL)]),
        "tool twice": body(tools=[function(), function()]),
        "tool choice": body(tools=[function()], tool_choice=TOOL),
        "tool choice of another": body(tools=[function()], tool_choice=function(name=TOOL + "x")),
        "forced tool that cannot be": body(tools=[function(parameters=never)], tool_choice=function()),
        "tool call": body(messages=[{"role": "assistant", "tool_calls": [{"id": TOOL, "function": {"name": TOOL}}]}]),
        "tool arguments": body(messages=[calling({TOOL: TOOL})]),
        "tool answer": body(messages=[{"role": "tool", "content": TOOL}]),
        "tool answer without a call": body(messages=[{"role": "tool", "tool_call_id": TOOL, "content": TOOL}]),
        "tool call without an answer": body(messages=[calling(TOOL), user(PROMPT)]),
        "image": body(messages=[user([image])]),
        "image where vision is": body(model="tiermesh-max", messages=[user([image])]),
        "image url": body(messages=[user([{"type": "image_url", "image_url": DATA_URL}])]),
        "lone surrogate": body(messages=[user(PROMPT + "\ud800")]),
        "too long": body(messages=[user(f"{PROMPT} " * 2_000 + "a " * 9_000)]),
    }
    return wrong


def message(**fields: Any) -> dict[str, Any]:
    return body(max_tokens=3, **fields)


# A tool loop as Anthropic's clients send it.
USED = [
    user(PROMPT),
    {"role": "assistant", "content": [{"type": "tool_use", "id": TOOL, "name": TOOL, "input": {TOOL: TOOL}}]},
    user([{"type": "tool_result", "tool_use_id": TOOL, "content": TOOL, "is_error": True}]),
]


def wrong_messages() -> dict[str, Any]:
    """Bodies of messages that are wrong where a secret stands."""
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}
    tool = {"name": TOOL, "input_schema": {}}
    return {
        "role": message(messages=[{"role": PROMPT, "content": PROMPT}]),
        "block": message(messages=[user([{"type": PROMPT, "text": PROMPT}])]),
        "block of the assistant": message(messages=[{"role": "assistant", "content": [{"type": PROMPT}, PROMPT]}]),
        "system": message(system={PROMPT: PROMPT}),
        "last turn": message(messages=[{"role": "assistant", "content": PROMPT}]),
        "call without a result": message(messages=[*USED[:2], user(PROMPT)]),
        "result without a call": message(messages=USED[2:]),
        "input": message(messages=[{"role": "assistant", "content": [{**USED[1]["content"][0], "input": TOOL}]}]),
        "image": message(messages=[user([block])]),
        "image where vision is": message(model="tiermesh-max", messages=[user([block])]),
        "tool name": message(tools=[{**tool, "name": TOOL + "!"}]),
        "tool schema": message(tools=[{**tool, "input_schema": TOOL}]),
        "tool twice": message(tools=[tool, tool]),
        "tool choice": message(tools=[tool], tool_choice={"type": TOOL}),
        "tool choice of another": message(tools=[tool], tool_choice={"type": "tool", "name": TOOL + "x"}),
        "format": message(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}),
        "too many stops": message(stop_sequences=[STOP] * 65),
        "too long": message(messages=[user(f"{PROMPT} " * 2_000 + "a " * 8_000)]),
    }


def malformed_bodies() -> dict[str, bytes]:
    """Bodies that are not JSON."""
    good = json.dumps(body()).encode()
    return {
        "cut off": good[: good.index(PROMPT.encode()) + len(PROMPT)],
        "bad escape": good.replace(PROMPT.encode(), PROMPT.encode() + b"\\x"),
        "control character": good.replace(PROMPT.encode(), PROMPT.encode() + b"\n"),
        "bad UTF-8": good.replace(PROMPT.encode(), PROMPT.encode() + b"\xff"),
        "no quotes": good.replace(b'"role"', PROMPT.encode()),
        "something after it": good + PROMPT.encode(),
        "nested too deeply": b'{"model": "x", "messages": ' + b"[" * 20_000 + PROMPT.encode(),
    }


def raw_requests() -> dict[str, bytes]:
    """Heads of requests that no HTTP parser takes, or that end too early."""
    line, key, prompt = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n", WRONG_KEY.encode(), PROMPT.encode()
    return {
        "control character in the key": line + b"Authorization: Bearer " + key + b"\x01\r\n\r\n",
        "header without colon": line + b"Bearer " + key + b"\r\n\r\n",
        "bad length": line + b"Authorization: Bearer " + key + b"\r\nContent-Length: " + prompt + b"\r\n\r\n",
        "no request line": prompt + b"\r\n\r\n",
        "bad version": b"POST /v1/chat/completions " + prompt + b"\r\n\r\n",
        "header too long": line + b"Authorization: Bearer " + key * 1000 + b"\r\n\r\n",
        "bad chunk": line
        + b"Transfer-Encoding: chunked\r\nAuthorization: Bearer "
        + key
        + b"\r\n\r\n"
        + prompt
        + b"\r\n",
    }


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """The whole tour, on a mesh of its own."""

    async def tour(mesh: LocalMesh) -> Evidence:
        tour = Tour(mesh)
        tour.succeed()
        tour.be_refused()
        tour.collect_metrics()
        await tour.be_hurt()
        tour.collect("while it ran")
        assert await mesh.stop() == 0
        tour.collect("after its end")
        return tour.evidence

    mesh = LocalMesh(tmp_path_factory.mktemp("privacy"), environ=SETTINGS)
    with mesh:
        yield asyncio.run(tour(mesh))


def test_the_tour_went_everywhere(evidence: Evidence) -> None:
    assert evidence.statuses >= {200, 400, 401, 402, 404, 413, 429, 503}
    assert b'"error"' in evidence.errors["runner-pro killed"]
    # Searching works: what the mesh does keep is found.
    assert any(b"req_" in content for place, content in evidence.places.items() if "billing.db" in place)
    assert any(b"/tiermesh/runners/" in content for place, content in evidence.places.items() if "/etcd/" in place)
    assert any("-wal " in place for place in evidence.places)
    assert any(b"tiermesh_edge" in content for place, content in evidence.places.items() if "metrics" in place)


def test_nothing_is_kept(evidence: Evidence) -> None:
    assert evidence.leaks(evidence.places) == []


def test_errors_repeat_nothing(evidence: Evidence) -> None:
    assert evidence.leaks(evidence.errors) == []
