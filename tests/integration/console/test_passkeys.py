"""Passkeys and recovery codes over HTTP, with an authenticator in software: attacks, limits, settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.common.receipts.finding import covered
from tests.integration.console.person import Owner, PageShown, Person, beside, session_key
from tests.integration.console.test_pages import status_of
from tests.support.authenticator import FLAG, Authenticator
from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh

SIGN_IN, SIGN_UP, ADD, CONFIRM = "/sign-in/passkey", "/sign-up/passkey", "/account/passkeys", "/confirm/passkey"


def options(person: Person, path: str, page: str, **fields: Any) -> str:
    """Asks for the options of a passkey as the script of a page does; returns them as JSON."""
    answer = person.send(f"{path}/options", {"form_token": person.token(page), **fields})
    assert answer.status == 200, answer.source
    assert answer.response.headers["content-type"].startswith("application/json")
    return json.dumps(answer.response.json()["publicKey"])


def send(person: Person, path: str, page: str, credential: str, **fields: Any) -> PageShown:
    """Sends the form with what an authenticator has answered."""
    return person.send(path, {"form_token": person.token(page), "credential": credential, **fields})


def sign_up(person: Person, name: str = "Zoë") -> Authenticator:
    """Opens an account with a passkey at this browser."""
    authenticator = Authenticator(person.url)
    made = authenticator.create(options(person, SIGN_UP, "/sign-up", name=name))
    answer = send(person, SIGN_UP, "/sign-up", made)
    assert (answer.status, answer.location) == (303, "/")
    return authenticator


def sign_in(person: Person, authenticator: Authenticator) -> PageShown:
    return send(person, SIGN_IN, "/sign-in", authenticator.get(options(person, SIGN_IN, "/sign-in")))


def test_what_was_signed_is_good_once_and_in_one_browser(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as owner, Person(mesh.console_url) as thief, Person(mesh.console_url) as other:
        authenticator = sign_up(owner)
        asked = options(other, SIGN_IN, "/sign-in")
        signed = authenticator.get(asked)
        # A thief who has seen it is faster.
        refused = send(thief, SIGN_IN, "/sign-in", signed)
        assert (refused.status, refused.shows("took too long, or it was done before")) == (409, True)
        # It is used up by that.
        assert send(other, SIGN_IN, "/sign-in", signed).status == 409
        signed = authenticator.get(options(other, SIGN_IN, "/sign-in"))
        form = {"form_token": other.token("/sign-in"), "credential": signed}
        cookies = other.cookies
        assert other.send(SIGN_IN, form).status == 303
        assert other.open("/").status == 200
        # The very same request once more.
        thief.http.cookies.clear()
        for name, value in cookies.items():
            thief.http.cookies.set(name, value)
        assert thief.send(SIGN_IN, form).status == 409
        assert thief.open("/").status == 303
        assert signed not in refused.source


@pytest.mark.parametrize(
    "change",
    [{"origin": "https://evil.example"}, {"domain": "evil.example"}, {"flags": FLAG.UP}, {"step": 0}],
    ids=lambda change: next(iter(change)),
)
def test_what_was_signed_elsewhere_is_refused(mesh: LocalMesh, change: dict[str, Any]) -> None:
    with Person(mesh.console_url) as owner, Person(mesh.console_url) as person:
        authenticator = sign_up(owner)
        assert sign_in(person, authenticator).status == 303
        for name, value in change.items():
            setattr(authenticator, name, value)
        with Person(mesh.console_url) as attacker:
            assert sign_in(attacker, authenticator).status == 403
            assert "session" not in " ".join(attacker.cookies)


def test_at_another_address_of_this_machine_passkeys_do_not_work(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as owner, Person(mesh.console_url.replace("localhost", "127.0.0.1")) as other:
        authenticator = sign_up(owner)
        page = other.open("/sign-in")
        assert ("data-passkey" in page.source, page.shows(owner.url)) == (False, True)
        assert "data-passkey" in owner.open("/sign-up").source
        asked = options(other, SIGN_IN, "/sign-in")
        authenticator.origin = other.url
        assert send(other, SIGN_IN, "/sign-in", authenticator.get(asked)).status == 403


def test_another_accounts_passkeys_are_out_of_reach(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as one, Person(mesh.console_url) as two:
        sign_up(one)
        other = sign_up(two, "neighbour")
        [remove] = [action for action in two.open("/account").forms if action.endswith("/remove")]
        assert one.send(remove, {"form_token": one.token()}).status == 404
        asked = options(one, CONFIRM, "/confirm")
        refused = send(one, CONFIRM, "/confirm", other.get(asked))
        assert (refused.status, refused.shows("not the passkey that you signed in with")) == (403, True)
        # What was begun at one browser is not completed at the other.
        made = Authenticator(one.url).create(options(one, ADD, "/account"))
        assert send(two, ADD, "/account", made).status == 409
        assert two.open("/").status == 200


def test_a_token_that_was_planted_is_never_used(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as attacker, Person(mesh.console_url) as victim:
        sign_up(attacker, "attacker")
        authenticator = sign_up(victim, "victim")
        name, planted = attacker.session_cookie
        victim.http.cookies.clear()
        victim.http.cookies.set(name, planted)
        asked = options(victim, SIGN_IN, "/account")
        answer = send(victim, SIGN_IN, "/account", authenticator.get(asked))
        assert answer.status == 303
        assert planted not in answer.response.headers["set-cookie"]
        # The attacker's own session, in which the victim signed in, has ended.
        assert attacker.open("/").status == 303


def test_a_stolen_cookie_is_worthless_after_signing_out_or_removing_the_passkey(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as person, Person(mesh.console_url) as second, Person(mesh.console_url) as thief:
        authenticator = sign_up(person)
        name, stolen = person.session_cookie
        thief.http.cookies.set(name, stolen)
        assert thief.open("/").status == 200
        assert person.fill_in("/", "/sign-out").status == 303
        assert thief.open("/").status == 303
        assert sign_in(person, authenticator).status == 303
        name, stolen = person.session_cookie
        thief.http.cookies.set(name, stolen)
        other = Authenticator(person.url)
        made = other.create(options(person, ADD, "/account"))
        assert send(person, ADD, "/account", made, name="other").location == "/account"
        assert sign_in(second, other).status == 303
        [first, _] = [action for action in second.open("/account").forms if action.endswith("/remove")]
        assert second.fill_in("/account", first).location == "/account"
        assert [each.open("/").status for each in (person, thief, second)] == [303, 303, 200]


async def test_what_is_not_fresh_is_confirmed_with_the_passkey(mesh: LocalMesh, tmp_path: Path) -> None:
    settings = {**beside(mesh), "registration": "open", "fresh_seconds": "0.000001"}
    async with ForkedServiceProcess("console", tmp_path, settings) as console:
        with Person(f"http://localhost:{console.address.rpartition(':')[2]}") as person:
            authenticator = sign_up(person)
            [remove] = [action for action in person.open("/account").forms if action.endswith("/remove")]
            for path in ("/account/passkeys/options", "/account/recovery-code", remove):
                answer = person.send(path, {"form_token": person.token()})
                assert (answer.status, answer.location) == (303, "/confirm?next=/account")
            page = person.open("/confirm?next=/account")
            assert page.shows("show the passkey that you signed in with")
            answer = send(person, CONFIRM, "/confirm", authenticator.get(options(person, CONFIRM, "/confirm")))
            assert answer.status == 303
            # A key, even one of the account, does not stand for the passkey.
            wrong = person.send("/confirm", {"form_token": person.token(), "key": mesh.console_key})
            assert wrong.status == 403


async def test_attempts_are_limited(mesh: LocalMesh, tmp_path: Path) -> None:
    settings = {**beside(mesh), "sign_ins_per_minute": "3", "registration": "open", "registrations_per_hour": "2"}
    async with ForkedServiceProcess("console", tmp_path, settings) as console:
        with Person(f"http://localhost:{console.address.rpartition(':')[2]}") as person:
            token = {"form_token": person.token("/sign-in")}
            guesses = [person.send("/recover", {**token, "code": f"guess {number}"}) for number in range(4)]
            assert [page.status for page in guesses] == [403, 403, 403, 429]
            assert 0 < int(guesses[-1].response.headers["retry-after"]) <= 60
            assert "guess" not in "".join(page.source for page in guesses)
            # They count with those by passkey and by key.
            assert person.send(SIGN_IN, {**token, "credential": "{}"}).status == 429
            asked = [person.send(f"{SIGN_IN}/options", token) for _ in range(4)]
            assert [page.status for page in asked] == [200, 200, 200, 429]
            assert "Too many attempts" in asked[-1].response.json()["problem"]
            asked = [person.send(f"{SIGN_UP}/options", {**token, "name": "x"}) for _ in range(3)]
            assert [page.status for page in asked] == [200, 200, 429]


async def test_a_new_account_needs_the_invitation_code_and_a_name(mesh: LocalMesh, tmp_path: Path) -> None:
    settings = {**beside(mesh), "registration": "code", "registration_code": "a guest of ours"}
    before = len(mesh.command_now("account", "list"))
    async with ForkedServiceProcess("console", tmp_path, settings) as console:
        with Person(f"http://localhost:{console.address.rpartition(':')[2]}") as person:
            token = {"form_token": person.token("/sign-up")}
            for fields, status in (({"name": "x"}, 403), ({"code": "a guest of ours"}, 400)):
                answer = person.send(f"{SIGN_UP}/options", {**token, **fields})
                assert (answer.status, list(answer.response.json())) == (status, ["problem"])
            asked = options(person, SIGN_UP, "/sign-up", name="x", code="a guest of ours")
            made = Authenticator(person.url).create(asked)
            assert send(person, SIGN_UP, "/sign-up", made).status == 303
    assert len(mesh.command_now("account", "list")) == before + 1


async def test_in_production_passkeys_are_for_the_public_name(mesh: LocalMesh, tmp_path: Path) -> None:
    public = {"public_url": "https://console.example.org", "passkey_domain": "example.org"}
    async with ForkedServiceProcess("console", tmp_path, {**beside(mesh), **public}) as console:
        with Person(f"http://{console.address}") as person:
            headers = {"Host": "console.example.org"}
            page = person.open("/sign-in", headers=headers)
            [(name, value)] = [(n, v) for n, v in page.response.cookies.items() if n.endswith("form")]
            headers["Cookie"] = f"{name}={value}"
            token = {"form_token": page.forms[SIGN_IN].fields["form_token"][0]}
            origin = public["public_url"]
            answer = person.send(f"{SIGN_IN}/options", token, origin=origin, headers=headers)
            assert answer.response.json()["publicKey"]["rpId"] == "example.org"


def test_what_recovers_can_do_nothing_else(mesh: LocalMesh) -> None:
    owner = Owner(mesh)
    with owner.at_a_browser() as person, Person(mesh.console_url) as finder:
        page = person.fill_in("/account", "/account/recovery-code")
        code = page.source.partition('id="secret"')[2].partition(">")[2].partition("<")[0]
        assert page.response.headers["cache-control"] == "no-store"
        assert finder.fill_in("/recover", "/recover", code=code).location == "/new-way-in"
        for path in ("/", "/keys", f"/keys/{owner.key_id}", "/account", "/usage.csv", "/keys/new", "/playground"):
            assert finder.open(path).location == "/new-way-in"
        token = {"form_token": finder.token("/new-way-in")}
        for path in (f"/keys/{owner.key_id}/rotate", f"/keys/{owner.key_id}/revoke", "/keys/new"):
            assert finder.send(path, token).location == "/new-way-in"
        for path in ("/account/recovery-code", "/account/end-other-sessions", "/confirm", "/playground"):
            assert finder.send(path, token).location == "/new-way-in"
        headers = {"Origin": finder.url, "X-Form-Token": token["form_token"]}
        asked = finder.http.post("/playground/answers", content=b"{}", headers=headers)
        assert (asked.status_code, asked.json()["error"]["message"]) == (403, "Add a passkey or get a key first.")
        assert person.open("/").status == 200
        got = finder.fill_in("/new-way-in", "/new-way-in/key")
        assert got.status == 200
        assert finder.open("/").status == 200
        assert person.open("/new-way-in").location == "/account"


def test_a_passkey_asks_in_the_playground_until_it_is_removed(mesh: LocalMesh) -> None:
    owner = Owner(mesh)
    with owner.at_a_browser() as person, Person(mesh.console_url) as entered:
        authenticator = Authenticator(person.url)
        made = authenticator.create(options(person, ADD, "/account"))
        assert send(person, ADD, "/account", made, name="phone").status == 303
        assert sign_in(entered, authenticator).location == "/"
        headers = {"Origin": entered.url, "X-Form-Token": entered.token(), "Content-Type": "application/json"}
        question = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "hi"}]}
        answer = entered.http.post("/playground/answers", json=question, headers=headers)
        assert (answer.status_code, covered(answer.content).rstrip().endswith(b"data: [DONE]")) == (200, True)
        key = session_key(mesh, entered.session_cookie[1])
        # It is let in, to chat and for nothing else.
        assert status_of(mesh, key) == 403
        [removal] = [path for path in person.open("/account").forms if path.endswith("/remove")]
        assert person.send(removal, {"form_token": person.token("/account")}).status == 303
        assert status_of(mesh, key) == 401
        assert entered.http.post("/playground/answers", json=question, headers=headers).status_code == 401


def test_no_code_is_written_anywhere(mesh: LocalMesh) -> None:
    with Owner(mesh).at_a_browser() as person, Person(mesh.console_url) as other:
        page = person.fill_in("/account", "/account/recovery-code")
        code = page.source.partition('id="secret"')[2].partition(">")[2].partition("<")[0]
        assert other.fill_in("/recover", "/recover", code=code).status == 303
        _, token = other.session_cookie
    paths = [path for path in mesh.state_dir.rglob("*") if path.is_file() and path.name != "credentials.json"]
    assert any(path.name == "auth.log" for path in paths)
    for path in paths:
        written = path.read_bytes()
        for text in (code, code.replace("-", ""), token):
            assert text.encode() not in written, path
