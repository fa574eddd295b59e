"""The playground without scripts, its calls as scripts make them, and attacks on it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integration.console.conftest import HOSTILE
from tests.integration.console.person import Owner, Person, beside, session_key
from tests.integration.console.test_pages import status_of
from tests.support.deadlines import stretched
from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh
from tests.support.raw_http import connect
from tests.support.waiting import eventually

HELLO = [{"role": "user", "content": "hi"}]
PRO = {"model": "tiermesh-pro", "messages": HELLO}
PATH = "/playground/answers"
EVIL = "https://evil.example"


def post(person: Person, question: Any, **headers: str) -> httpx2.Response:
    """Asks as the script of the page does; `headers` with underscores change what it sends beside the question."""
    sent = {"Origin": person.url, "X-Form-Token": person.token(), "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    content = question if isinstance(question, bytes) else json.dumps(question).encode()
    return person.http.post(PATH, content=content, headers=sent)


def text_of(stream: str) -> str:
    """Returns the text of a streamed answer."""
    lines = [line[6:] for line in stream.splitlines() if line.startswith("data: ") and line != "data: [DONE]"]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_an_answer_without_scripts_comes_whole_with_its_receipt(mesh: LocalMesh) -> None:
    owner = Owner(mesh)
    with owner.at_a_browser() as person:
        assert "tiermesh-pro · $0.10<" in person.open("/playground").source
        page = person.fill_in("/playground", "/playground", message="What is the weather?", model="tiermesh-pro")
        assert page.status == 200
        assert page.shows("$0.10 charged")
        assert page.shows("What is the weather?")
        found = re.search(r'href="/receipts\?id=(req_\w+)"', page.source)
        assert found is not None
        receipt = person.open(f"/receipts?id={found[1]}")
        assert receipt.shows("10 credits")
        # The key that it was charged to belongs to the session and is on no list.
        [key_id] = re.findall(r'href="/keys/(key_\w+)"', receipt.source)
        assert key_id != owner.key_id
        shown = person.open(f"/keys/{key_id}")
        assert shown.shows("This key belongs to a session of the console")
        assert f"/keys/{key_id}/rotate" not in shown.forms
        assert key_id not in person.open("/keys").source
        rotated = person.send(f"/keys/{key_id}/rotate", {"form_token": person.token(), "overlap": "0"})
        assert (rotated.status, 'id="secret"' in rotated.source) == (409, False)
        assert person.open("/usage?group_by=key").shows("Playground: 10 credits")
        assert person.open("/").shows("$9.90")


def test_an_answer_is_streamed_and_its_receipt_told(person: Person) -> None:
    response = post(person, PRO)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert text_of(response.text)
    receipt = person.http.get("/playground/receipt", params={"id": response.headers["x-request-id"]}).json()
    assert (receipt["settled"], receipt["charged"], receipt["dollars"]) == (True, 10, "$0.10")
    assert receipt["prompt_tokens"] > 0
    assert receipt["completion_tokens"] > 0


def test_a_browser_that_leaves_stops_the_answer_at_the_edge(person: Person) -> None:
    question = {**PRO, "messages": [{"role": "user", "content": "a long answer"}]}
    headers = {"Origin": person.url, "X-Form-Token": person.token()}
    with person.http.stream("POST", PATH, json=question, headers=headers) as response:
        request_id = response.headers["x-request-id"]
        next(response.iter_bytes())

    def settled() -> bool:
        receipt = person.http.get("/playground/receipt", params={"id": request_id}).json()
        return bool(receipt["settled"])

    # The whole answer would take a minute.
    wait(settled)
    receipt = person.http.get("/playground/receipt", params={"id": request_id}).json()
    # As the table of charges says: after the first token, it costs the whole price.
    assert (receipt["charged"], receipt["outcome"]) == (10, "the client disconnected after the first token")
    assert receipt["completion_tokens"] < 3000


def wait(condition: Callable[[], bool]) -> None:
    asyncio.run(eventually(condition))


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"message": ""}, 400, "Write a message."),
        ({"model": "gpt-9"}, 404, "gpt-9"),
        ({"model": HOSTILE}, 404, "model"),
        ({"tools": "{}"}, 400, "Tools must be a JSON list"),
        ({"tools": '[{"type": "function"}]'}, 400, "tools[0]"),
        ({"max_tokens": "many"}, 400, "The longest answer must be a whole number"),
    ],
)
def test_what_cannot_be_asked_is_explained_and_costs_nothing(
    person: Person, fields: dict[str, str], status: int, words: str
) -> None:
    entered = {"message": "hi", "model": "tiermesh-pro", "tools": "", "max_tokens": "", **fields}
    page = person.fill_in("/playground", "/playground", **entered)
    assert page.status == status
    assert page.shows(words)
    assert page.shows("Nothing was charged.")
    assert "<img" not in page.source
    if entered["message"]:
        response = post(person, _asked(entered))
        assert response.status_code == status
        assert words in response.json()["error"]["message"]
        assert response.json()["error"]["money"] == "Nothing was charged."


def _asked(entered: dict[str, str]) -> dict[str, Any]:
    return {"messages": HELLO, **{name: value for name, value in entered.items() if name != "message"}}


def test_without_credits_nothing_is_asked(mesh: LocalMesh) -> None:
    with Owner(mesh, amount=0).at_a_browser() as person:
        response = post(person, PRO)
        assert (response.status_code, response.json()["error"]["money"]) == (402, "Nothing was charged.")
        page = person.fill_in("/playground", "/playground", message="hi", model="tiermesh-pro")
        assert (page.status, page.shows("Nothing was charged.")) == (402, True)


def test_a_key_that_cannot_chat_has_no_playground(mesh: LocalMesh, owner: Owner) -> None:
    made = mesh.command_now("key", "create", owner.account, "--endpoint", "keys", "--endpoint", "models")
    with Person(mesh.console_url) as person:
        person.sign_in(made["api_key"])
        assert person.open("/playground").shows("lacks the scope")
        response = post(person, PRO)
        assert (response.status_code, response.json()["error"]["money"]) == (403, "Nothing was charged.")


def test_other_sites_and_strangers_ask_nothing(owner: Owner, person: Person, mesh: LocalMesh) -> None:
    with owner.at_a_browser() as elsewhere:
        other_token = elsewhere.token()
    for headers in (
        *({"Origin": origin} for origin in (EVIL, "null", f"{person.url}.evil.example")),
        *({"X_Form_Token": token} for token in ("", "0" * 64, other_token)),
    ):
        response = post(person, PRO, **headers)
        assert response.status_code == 403, headers
        assert "event-stream" not in response.headers["content-type"]
    # What another site can send without asking: a form of any of the three types.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert post(person, PRO, Content_Type=kind).status_code == 415
    with Person(mesh.console_url) as stranger:
        token = stranger.token("/sign-in")
        answer = stranger.http.post(PATH, json=PRO, headers={"Origin": stranger.url, "X-Form-Token": token})
        assert (answer.status_code, answer.json()["error"]["message"]) == (401, "The session has ended. Sign in again.")
        assert stranger.http.get("/playground/receipt?id=req_" + "0" * 32).status_code == 401
    for junk in (b"", b"[]", b"{", b'{"model": 1}', b'{"model": "m", "messages": [1]}', b"[" * 100_000):
        assert 400 <= post(person, junk).status_code < 500


def test_receipts_of_others_do_not_exist(person: Person, mesh: LocalMesh) -> None:
    request_id = post(person, PRO).headers["x-request-id"]
    with Owner(mesh).at_a_browser() as neighbour:
        for each in (request_id, "req_" + "0" * 32, "nonsense", "<b>", ""):
            assert neighbour.http.get("/playground/receipt", params={"id": each}).status_code == 404


def test_a_large_question_is_refused_before_it_is_read(person: Person) -> None:
    response = post(person, {**PRO, "system": "x" * 9_000_000})
    assert response.status_code == 413
    assert response.json()["error"]["money"] == "Nothing was charged."


@pytest.mark.parametrize("how", ["sign out", "end others", "revoke"])
def test_its_key_is_dead_when_the_session_has_ended(mesh: LocalMesh, how: str) -> None:
    owner = Owner(mesh)
    with owner.at_a_browser() as person, owner.at_a_browser() as elsewhere:
        _, token = person.session_cookie
        assert post(person, PRO).status_code == 200
        secret = session_key(mesh, token)
        body = {"model": "tiermesh-pro", "messages": HELLO, "max_tokens": 1}
        url, headers = f"{mesh.base_url}/chat/completions", {"Authorization": f"Bearer {secret}"}
        assert httpx2.post(url, json=body, headers=headers).status_code == 200
        # It is good for nothing but chats.
        assert [status_of(mesh, secret, path) for path in ("/models", "/keys", "/balance")] == [403] * 3
        if how == "sign out":
            assert person.fill_in("/", "/sign-out").status == 303
        elif how == "end others":
            assert elsewhere.fill_in("/account", "/account/end-other-sessions").status == 303
        else:
            assert person.fill_in(f"/keys/{owner.key_id}", f"/keys/{owner.key_id}/revoke").status == 303
        assert httpx2.post(url, json=body, headers=headers).status_code == 401


async def test_clients_that_are_too_slow_are_cut_off(mesh: LocalMesh, owner: Owner, tmp_path: Path) -> None:
    limits = {"head_seconds": "0.3", "body_seconds": "0.3", "drain_seconds": "1"}
    async with ForkedServiceProcess("console", tmp_path, beside(mesh) | limits) as console:
        async with connect(f"http://{console.address}") as connection:
            await connection.send(b"GET /sign-in HTTP/1.1\r\nX-Slow: lor")
            assert await connection.until_closed() == b""
        with Person(f"http://{console.address}") as person:
            person.sign_in(owner.key)
            name, token = person.session_cookie
            for path, kind in (("/playground", "application/x-www-form-urlencoded"), (PATH, "application/json")):
                head = (
                    f"POST {path} HTTP/1.1\r\nHost: {console.address}\r\nOrigin: {person.url}\r\n"
                    f"Cookie: {name}={token}\r\nX-Form-Token: {person.token()}\r\n"
                    f"Content-Type: {kind}\r\nContent-Length: 500\r\n\r\n{{"
                )
                async with connect(f"http://{console.address}") as connection:
                    await connection.send(head.encode())
                    assert (await connection.response()).status == 408


async def test_an_edge_that_is_away_costs_nothing(mesh: LocalMesh, owner: Owner, tmp_path: Path) -> None:
    nowhere = beside(mesh) | {"edge_url": "http://127.0.0.1:1/v1"}
    async with ForkedServiceProcess("console", tmp_path, nowhere) as console:
        with Person(f"http://{console.address}") as person:
            person.sign_in(owner.key)
            response = post(person, PRO)
            assert response.status_code == 503
            assert response.json()["error"] == {
                "message": "The API cannot be reached. Try again in a few seconds.",
                "money": "Nothing was charged.",
            }
        assert 'playground_answers_total{result="refused"} 1.0' in await console.metrics()


def test_no_key_of_a_session_is_written_anywhere(mesh: LocalMesh, person: Person) -> None:
    answers = [post(person, PRO), post(person, {**PRO, "model": "gpt-9"})]
    _, token = person.session_cookie
    secret = session_key(mesh, token)
    page = person.fill_in("/playground", "/playground", message="hi", model="tiermesh-pro")
    for answer in (*answers, page.response):
        assert secret not in answer.text + str(answer.headers)
    paths = [path for path in mesh.state_dir.rglob("*") if path.is_file()]
    assert any(path.name == "console.log" for path in paths)
    assert all(secret.encode() not in path.read_bytes() for path in paths)
    assert secret not in httpx2.get(mesh.metrics["console"], timeout=stretched(10)).text
