"""Attacks on the console, each refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.console.http.headers import CONTENT_SECURITY_POLICY
from tests.integration.console.crawl import BODIES, MARKUP, Crawl, check_answer
from tests.integration.console.person import FormOnPage, Owner, Person, beside, shown_as_text
from tests.integration.console.test_pages import PAGES, key_page, make_key, status_of
from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh

EVIL = "https://evil.example"
LONG_AND_STRANGE = "\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED} \N{PARTY POPPER}" + "W" * 99


def crawl_of(person: Person) -> Crawl:
    """Returns all pages and forms of the console, with those of a key of which nothing depends."""
    return Crawl(person, (key_page(person, make_key(person)), "/", "/confirm", "/sign-up", "/recover"))


def forms_that_change_something(person: Person) -> dict[str, dict[str, object]]:
    """Returns every form of the console, by its action, as a person would send it."""
    forms = crawl_of(person).forms
    return {action: {**form.fields} for action, form in forms.items() if form.method == "post"}


def test_another_sites_form_does_nothing(owner: Owner, person: Person, mesh: LocalMesh) -> None:
    # With a second session, there are others to end.
    owner.at_a_browser()
    forms = forms_that_change_something(person)
    assert {action.rpartition("/")[2] for action in forms} >= {
        *("new", "rotate", "revoke", "close", "end", "end-other-sessions", "passkeys", "recovery-code", "playground"),
        *("sign-out", "sign-up", "confirm"),
    }
    for action, fields in forms.items():
        # The form token is right here, which another site cannot even know.
        for origin in (EVIL, "null", None, f"{person.url}.evil.example", person.url.replace("http", "https")):
            page = person.send(action, fields, origin=origin)
            assert page.status == 403, (action, origin)
        for token in ("", "0" * 64, Person(mesh.console_url).token("/sign-in"), owner.at_a_browser().token()):
            page = person.send(action, {**fields, "form_token": token})
            assert page.status == 403, (action, token)
    assert person.open("/").status == 200
    listed = person.open("/keys").source
    assert "revoked" not in listed.split("<tbody>")[1].split("</tr>")[0]


def test_signing_in_needs_a_form_of_ours_too(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as person:
        fields = {**person.open("/sign-in").forms["/sign-in"].fields, "key": mesh.console_key}
        assert person.send("/sign-in", fields, origin=EVIL).status == 403
        assert person.send("/sign-in", {**fields, "form_token": "0" * 64}).status == 403
        person.http.cookies.clear()
        assert person.send("/sign-in", fields).status == 403
        assert "session" not in " ".join(person.cookies)


def test_opening_a_page_changes_nothing(person: Person) -> None:
    crawl = crawl_of(person)
    for action, form in crawl.forms.items():
        if form.method == "post" and action not in crawl.pages:
            assert person.open(action).status in {404, 405}, action
    assert person.open("/").status == 200


def test_a_token_that_was_planted_is_never_used(owner: Owner, mesh: LocalMesh) -> None:
    with owner.at_a_browser() as attacker, Person(mesh.console_url) as victim:
        name, planted = attacker.session_cookie
        other = Owner(mesh, "victim")
        for value in ("planted-by-an-attacker-0123456789", planted):
            victim.http.cookies.set(name, value)
            form = victim.open("/account" if value == planted else "/sign-in")
            fields = next(iter(form.forms.values())).fields
            answer = victim.send("/sign-in", {**fields, "key": other.key, "next": "/"})
            assert answer.status == 303
            fresh = answer.response.headers["set-cookie"]
            assert f"{name}=" in fresh
            assert value not in fresh
            victim.http.cookies.clear()
        # The attacker's own session, in which the victim signed in, has ended.
        assert attacker.open("/").status == 303


def test_a_stolen_cookie_is_worthless_after_signing_out(person: Person, mesh: LocalMesh) -> None:
    name, stolen = person.session_cookie
    with Person(mesh.console_url) as thief:
        thief.http.cookies.set(name, stolen)
        assert thief.open("/").status == 200
        answer = person.fill_in("/", "/sign-out")
        assert (answer.status, answer.location) == (303, "/sign-in")
        assert f'{name}=""' in answer.response.headers["set-cookie"]
        assert thief.open("/").location == "/sign-in?next=/"
        assert thief.open("/keys").status == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(owner: Owner, mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as person:
        cookies = person.sign_in(owner.key).response.headers.get_list("set-cookie")
        [session] = [cookie for cookie in cookies if "session" in cookie.partition("=")[0]]
        assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in session.split(";")}
        assert "domain" not in session.lower()


async def test_over_tls_the_cookie_is_bound_to_this_host(owner: Owner, mesh: LocalMesh, tmp_path: Path) -> None:
    addresses = beside(mesh)
    public = {**addresses, "public_url": "https://console.example.org"}
    async with ForkedServiceProcess("console", tmp_path, public) as console:
        with Person(f"http://{console.address}") as person:
            headers = {"Host": "console.example.org"}
            page = person.open("/sign-in", headers=headers)
            assert "max-age=" in page.response.headers["strict-transport-security"]
            form = re.findall(r"(__Host-tiermesh-form)=([\w-]+); (.*)", page.response.headers["set-cookie"])
            assert "Secure" in form[0][2]
            fields = {**page.forms["/sign-in"].fields, "key": owner.key}
            headers["Cookie"] = f"{form[0][0]}={form[0][1]}"
            answer = person.send("/sign-in", fields, origin="https://console.example.org", headers=headers)
            assert answer.status == 303
            cookies = answer.response.headers.get_list("set-cookie")
            assert any(cookie.startswith("__Host-tiermesh-session=") and "Secure" in cookie for cookie in cookies)
            # A proxy that forgets the host, or a page that points its own name here.
            assert person.open("/sign-in").status == 421


def test_every_answer_forbids_frames_and_foreign_content(person: Person) -> None:
    paths = (*PAGES, "/sign-in", "/nothing", "/static/0/console.js", "/static/0/nothing")
    answers = [person.open(path).response for path in paths]
    answers += [person.http.put("/"), person.http.post("/keys"), person.http.get("/", headers={"Host": "evil.example"})]
    for answer in answers:
        headers = answer.headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["server"] == "tiermesh"
        assert headers["cache-control"] == "no-store" or answer.url.path.startswith("/static/")
    assert answers[-1].status_code == 421
    for directive in ("default-src 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"):
        assert directive in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("name", [MARKUP, LONG_AND_STRANGE])
def test_names_are_text_in_every_page(mesh: LocalMesh, name: str) -> None:
    with Owner(mesh, name).at_a_browser() as person:
        path = key_page(person, make_key(person, name=name))
        refused = person.fill_in("/keys/new", "/keys/new", name=name, requests_per_minute=name)
        assert refused.status == 400
        pages = [person.open(each) for each in (*PAGES, path)] + [refused]
        assert shown_as_text(pages, name) >= 4


def test_what_belongs_to_others_does_not_exist(owner: Owner, mesh: LocalMesh) -> None:
    other = Owner(mesh, "neighbour")
    with owner.at_a_browser() as person, other.at_a_browser() as neighbour:
        path = key_page(neighbour, make_key(neighbour, name="neighbour's key"))
        [end] = [action for action in neighbour.open("/account").forms if action.startswith("/account/sessions/")]
        token = {"form_token": person.token()}
        missing = person.open("/keys/key_" + "0" * 24)
        assert missing.status == 404
        for key in (path, f"/keys/{other.key_id}"):
            page = person.open(key)
            # Not even that it exists can be told from the answer.
            assert (page.status, page.source) == (404, missing.source.replace("key_" + "0" * 24, key[6:]))
            assert person.send(f"{key}/rotate", token).status == 404
            assert person.send(f"{key}/revoke", {**token, "descendants": "yes"}).status == 404
        assert person.open(f"/keys?after={path[6:]}").status == 400
        assert person.send(end, token).status == 303
        assert neighbour.open("/").status == 200
        assert "neighbour's key" not in person.open("/keys").source
    assert status_of(mesh, other.key) == 200


def test_a_session_ends_with_the_key_that_began_it(mesh: LocalMesh) -> None:
    owner = Owner(mesh)
    with owner.at_a_browser() as person:
        path = f"/keys/{owner.key_id}"
        assert person.open(path).shows("You signed in with this key.")
        answer = person.fill_in(path, f"{path}/revoke")
        assert (answer.status, answer.location) == (303, "/sign-in")
        assert person.open("/").status == 303


async def test_guessing_is_slowed_down(owner: Owner, mesh: LocalMesh, tmp_path: Path) -> None:
    addresses = beside(mesh)
    limited = {**addresses, "sign_ins_per_minute": "3", "trusted_proxies": "1", "fresh_seconds": "0.000001"}
    async with ForkedServiceProcess("console", tmp_path, limited) as console:
        with Person(f"http://{console.address}") as person:
            person.http.headers["X-Forwarded-For"] = "1.2.3.4, 198.51.100.1"
            assert person.sign_in(owner.key).status == 303
            # Showing the key once more can be tried as often, together.
            assert person.open("/keys/new").location == "/confirm?next=/keys/new"
            wrong = person.fill_in("/confirm?next=/keys/new", "/confirm", key="sk-tiermesh-guess")
            assert (wrong.status, "sk-tiermesh-guess" in wrong.source) == (403, False)
            right = person.fill_in("/confirm?next=/keys/new", "/confirm", key=owner.key)
            assert (right.status, right.location) == (303, "/keys/new")
            refused = person.fill_in("/confirm", "/confirm", key=owner.key)
            assert refused.status == 429
            assert 0 < int(refused.response.headers["retry-after"]) <= 60
            # What a client adds itself changes nothing.
            person.http.headers["X-Forwarded-For"] = "9.9.9.9, 198.51.100.1"
            assert person.fill_in("/confirm", "/confirm", key=owner.key).status == 429
            person.http.headers["X-Forwarded-For"] = "198.51.100.2"
            assert person.fill_in("/confirm", "/confirm", key=owner.key).status == 303
        metrics = await console.metrics()
        assert 'tiermesh_console_sign_ins_total{result="refused"} 1.0' in metrics
        assert 'tiermesh_console_sign_ins_total{result="rate_limited"}' in metrics


async def test_registration_is_off_or_limited_unless_somebody_opens_it(mesh: LocalMesh, tmp_path: Path) -> None:
    addresses = beside(mesh)
    async with ForkedServiceProcess("console", tmp_path, addresses) as console:
        with Person(f"http://{console.address}") as person:
            assert person.open("/sign-up").status == 404
            assert "/sign-up" not in person.open("/sign-in").source
            token = {"form_token": person.token("/sign-in")}
            assert person.send("/sign-up", {**token, "name": "x"}).status in {404, 405}
    invited = {"registration": "code", "registration_code": "a guest of ours", "registrations_per_hour": "3"}
    async with ForkedServiceProcess("console", tmp_path, {**addresses, **invited}) as console:
        with Person(f"http://{console.address}") as person:
            before = len(mesh.command_now("account", "list"))
            for code in ("", "a guest of our"):
                page = person.fill_in("/sign-up", "/sign-up", name="x", code=code)
                assert (page.status, page.shows("not the invitation code")) == (403, True)
            assert person.fill_in("/sign-up", "/sign-up", name="x", code="a guest of ours").status == 200
            assert person.fill_in("/sign-up", "/sign-up", name="x", code="a guest of ours").status == 429
            assert len(mesh.command_now("account", "list")) == before + 1
        assert "a guest of ours" not in console.log()


@pytest.fixture(scope="module")
def crawl(owner: Owner) -> Iterator[Crawl]:
    """Every form at one browser; without those that would sign it out."""
    with owner.at_a_browser() as person:
        yield crawl_of(person)


def fields_of(crawl: Crawl) -> list[FormOnPage]:
    """Returns the forms with something to fill in; none signs the browser out."""
    return [form for form in crawl.forms.values() if form.names - {"form_token"}]


def test_markup_in_any_field_of_any_form_is_text(crawl: Crawl) -> None:
    filled_in = [(form, name) for form in fields_of(crawl) for name in sorted(form.names - {"form_token"})]
    assert {form.action for form, _ in filled_in} >= {
        *("/keys/new", "/usage", "/receipts", "/account/close", "/account/name", "/account/passkeys", "/playground")
    }
    for form, name in filled_in:
        check_answer(crawl.send(form, {name: MARKUP}))
    for path in crawl.pages:
        check_answer(crawl.person.open(path))


@settings(max_examples=25)
@given(st.data())
def test_no_form_breaks_whatever_is_entered(crawl: Crawl, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(fields_of(crawl)))
    check_answer(crawl.send(form, crawl.filled_in(form, data)))
    assert 400 <= crawl.send_body(form, data.draw(BODIES)) < 500
    path = data.draw(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=20))
    assert crawl.person.open(f"/keys/{path}").status < 500


def test_no_key_and_no_token_is_written_anywhere(mesh: LocalMesh, person: Person, owner: Owner) -> None:
    secret = make_key(person)
    with Person(mesh.console_url) as stranger:
        assert stranger.sign_in("sk-tiermesh-a-guess-of-somebody").status == 403
    _, token = person.session_cookie
    paths = [path for path in mesh.state_dir.rglob("*") if path.is_file() and path.name != "credentials.json"]
    assert any(path.name == "console.log" for path in paths)
    for path in paths:
        written = path.read_bytes()
        for text in (secret, owner.key, token, "sk-tiermesh-a-guess-of-somebody"):
            assert text.encode() not in written, path
    metrics = httpx2.get(mesh.metrics["console"]).text
    assert "tiermesh_console_requests_total" in metrics
    assert all(text not in metrics for text in (secret, owner.key, token, owner.account))
