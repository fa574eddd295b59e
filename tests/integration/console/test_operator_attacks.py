"""Attacks on the operators' console, each refused."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.console.http.headers import CONTENT_SECURITY_POLICY
from tests.integration.console.crawl import BODIES, MARKUP, TEXT, Crawl, check_answer
from tests.integration.console.person import Operator, Owner, PageShown, Person, operators_beside, shown_as_text
from tests.integration.console.test_attacks import EVIL, LONG_AND_STRANGE, fields_of
from tests.integration.console.test_closing import close
from tests.integration.console.test_operator_pages import OPERATOR_PAGES, account_page
from tests.integration.console.test_pages import status_of
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

# What a form needs to do something, by how its action ends.
ENTERED: dict[str, dict[str, object]] = {
    "/accounts/new": {"name": "made by a test"},
    "/grant": {"credits": "5", "reason": "a test"},
    "/suspend": {"reason": "a test"},
    "/reopen": {"reason": "a test"},
}


def crawl_of(person: Person, *owners: Owner) -> Crawl:
    """Returns all pages and forms of the operators' console, with those of these accounts and of no others."""
    return Crawl(person, (*(account_page(owner) for owner in owners), "/", "/confirm"))


def forms_that_change_something(person: Person, *owners: Owner) -> dict[str, dict[str, object]]:
    """Returns every form of the operators' console, by its action, as an operator would send it."""
    forms = crawl_of(person, *owners).forms.items()
    return {action: {**form.fields, **entered_into(action)} for action, form in forms if form.method == "post"}


def entered_into(action: str) -> dict[str, object]:
    """Returns what a form needs to do something."""
    return next((fields for end, fields in ENTERED.items() if action.endswith(end)), {})


@pytest.fixture(scope="module")
def suspended(mesh: LocalMesh) -> Owner:
    """The owner of a suspended account."""
    owner = Owner(mesh, "suspended")
    mesh.command_now("account", "suspend", owner.account)
    return owner


@pytest.fixture(scope="module")
def closed(mesh: LocalMesh) -> Owner:
    """The owner of a closed account."""
    owner = Owner(mesh, "closed")
    with owner.at_a_browser() as person:
        close(person)
    return owner


def actions_recorded(mesh: LocalMesh) -> int:
    """Returns how many actions the record has."""
    with closing(sqlite3.connect(mesh.state_dir / "auth.db")) as database:
        [(count,)] = database.execute("SELECT count(*) FROM operator_actions")
    return int(count)


@pytest.fixture(scope="module")
def target(mesh: LocalMesh) -> Owner:
    """An owner to whom things are done."""
    return Owner(mesh, "target")


def test_another_sites_form_does_nothing(
    desk_of_operator: Person, operator: Operator, target: Owner, suspended: Owner, closed: Owner, mesh: LocalMesh
) -> None:
    person = desk_of_operator
    forms = forms_that_change_something(person, target, suspended, closed)
    assert {action.rpartition("/")[2] for action in forms} >= {
        *("new", "drain", "audit", "grant", "suspend", "resume", "reopen", "keys", "revoke", "sign-out", "confirm")
    }
    before = actions_recorded(mesh)
    other = operator.at_a_browser()
    for action, fields in forms.items():
        # The form token is right here, which another site cannot even know.
        for origin in (EVIL, "null", None, f"{person.url}.evil.example", person.url.replace("http", "https")):
            assert person.send(action, fields, origin=origin).status == 403, (action, origin)
        for token in ("", "0" * 64, Person(person.url).token("/sign-in"), other.token()):
            assert person.send(action, {**fields, "form_token": token}).status == 403, (action, token)
    assert actions_recorded(mesh) == before
    for action in forms:
        # Opening a page changes nothing either.
        assert person.open(action).status in {200, 404, 405}, action
    assert actions_recorded(mesh) == before


def test_every_form_leaves_a_line_in_the_record(desk_of_operator: Person, mesh: LocalMesh) -> None:
    person = desk_of_operator
    forms = forms_that_change_something(person, Owner(mesh, "recorded"))
    runners = [action for action in forms if action.endswith("/drain")]
    try:
        for action, fields in forms.items():
            if action in {"/sign-out", "/confirm"}:
                continue
            before = actions_recorded(mesh)
            assert person.send(action, fields).status in {200, 303}, action
            assert actions_recorded(mesh) == before + 1, action
    finally:
        for runner in runners:
            person.fill_in("/runners", runner.replace("/drain", "/undrain"))


def test_neither_console_takes_what_signs_in_to_the_other(
    operator: Operator, owner: Owner, desk_of_operator: Person, person: Person, mesh: LocalMesh
) -> None:
    operator_name, operator_token = desk_of_operator.session_cookie
    owner_name, owner_token = person.session_cookie
    assert operator_name != owner_name
    for url, key in ((mesh.operator_console_url, owner.key), (mesh.console_url, operator.key)):
        with Person(url) as stranger:
            refused = stranger.sign_in(key)
            assert (refused.status, key in refused.source) == (403, False)
            assert "session" not in " ".join(stranger.cookies)
    for url, name, token in (
        (mesh.operator_console_url, operator_name, owner_token),
        (mesh.operator_console_url, owner_name, owner_token),
        (mesh.console_url, owner_name, operator_token),
        (mesh.console_url, operator_name, operator_token),
    ):
        with Person(url) as thief:
            thief.http.cookies.set(name, token)
            assert thief.open("/").location == "/sign-in?next=/", (url, name)
    # No key of an operator is one of the API.
    assert status_of(mesh, operator.key) == 401
    for path in ("/accounts", "/runners", "/money", "/record", account_page(owner)):
        assert person.open(path).status == 404
    assert desk_of_operator.open("/keys").status == 404


def test_a_stolen_cookie_is_worthless_after_signing_out(operator: Operator, mesh: LocalMesh) -> None:
    with Person(mesh.operator_console_url) as person, Person(mesh.operator_console_url) as thief:
        cookies = person.sign_in(operator.key).response.headers.get_list("set-cookie")
        [cookie] = [each for each in cookies if "session" in each.partition("=")[0]]
        assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
        thief.http.cookies.set(*person.session_cookie)
        assert thief.open("/").status == 200
        assert person.fill_in("/", "/sign-out").location == "/sign-in"
        assert thief.open("/").location == "/sign-in?next=/"


def test_an_operator_who_is_removed_is_out_at_once(mesh: LocalMesh) -> None:
    operator = Operator(mesh)
    with operator.at_a_browser() as person:
        listed = {each["name"]: each for each in mesh.command_now("operator", "list")}
        assert operator.key.startswith(listed[operator.name]["hint"])
        mesh.command_now("operator", "remove", operator.name)
        assert person.open("/").status == 303
        assert person.sign_in(operator.key).status == 403


@pytest.fixture
async def strict(mesh: LocalMesh, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """A console with the usual limit, at which no key was shown a short time ago."""
    async with operators_beside(mesh, tmp_path, fresh_seconds="0.000001") as console:
        yield console


async def test_an_action_needs_the_key_that_was_shown_a_short_time_ago(
    strict: ServiceProcess, operator: Operator, target: Owner, mesh: LocalMesh
) -> None:
    with Person(f"http://{strict.address}") as person:
        person.sign_in(operator.key)
        balance = mesh.command_now("balance", target.account)
        before = actions_recorded(mesh)
        for action, fields in forms_that_change_something(person, target).items():
            if action not in {"/sign-out", "/confirm"}:
                answer = person.send(action, fields)
                assert (answer.status, answer.location.partition("?")[0]) == (303, "/confirm"), action
        assert actions_recorded(mesh) == before
        assert mesh.command_now("balance", target.account) == balance
        other = mesh.operator_key
        refused = person.fill_in("/confirm", "/confirm", key=other)
        assert (refused.status, refused.shows("another operator")) == (403, True)
        confirmed = person.fill_in("/confirm?next=/runners", "/confirm", key=operator.key)
        assert (confirmed.status, confirmed.location) == (303, "/runners")
    # Guessing is slowed down: three of ten attempts in a minute are made.
    with Person(f"http://{strict.address}") as person:
        answers = [person.sign_in(f"op-tiermesh-guess-{number}").status for number in range(8)]
        assert answers == [403] * 7 + [429]
        assert person.sign_in(operator.key).status == 429
    metrics = await strict.metrics()
    assert 'tiermesh_console_sign_ins_total{result="refused"} 8.0' in metrics


def test_every_answer_forbids_frames_and_foreign_content(desk_of_operator: Person, target: Owner) -> None:
    person = desk_of_operator
    paths = (*OPERATOR_PAGES, account_page(target), "/sign-in", "/nothing", "/static/0/nothing")
    answers = [person.open(path).response for path in paths]
    answers += [person.http.put("/"), person.http.post("/money/audit"), person.http.get("/", headers={"Host": "evil"})]
    for answer in answers:
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
    assert [answer.status_code for answer in answers[-3:]] == [405, 403, 421]


@pytest.mark.parametrize("name", [MARKUP, LONG_AND_STRANGE])
def test_names_are_text_in_every_page(desk_of_operator: Person, mesh: LocalMesh, name: str) -> None:
    person, owner = desk_of_operator, Owner(mesh, name)
    path = account_page(owner)
    assert person.fill_in(path, f"{path}/grant", credits="5", reason=name).status == 303
    assert person.fill_in(path, f"{path}/suspend", reason=name).status == 303
    made = person.fill_in(path, f"{path}/keys", name=name)
    refused = person.fill_in("/accounts/new", "/accounts/new", name=f"{name}\x07")
    signed_in = Operator(mesh, f"{name} {owner.account}").at_a_browser()
    token = {"form_token": signed_in.token("/runners")}
    assert signed_in.send("/runners/nobody/undrain", token).status == 303
    pages = [person.open(each) for each in (*OPERATOR_PAGES, path)]
    pages += [
        PageShown(person.http.get(page, params={"search": name, "subject": name})) for page in ("/accounts", "/record")
    ]
    pages += [made, refused]
    assert refused.status == 400
    assert shown_as_text(pages, name) >= 7


def test_ids_of_nothing_are_not_found(desk_of_operator: Person) -> None:
    person, nobody = desk_of_operator, "acct_" + "0" * 24
    token = {"form_token": person.token("/runners")}
    for path in (f"/accounts/{nobody}", "/accounts/x", f"/accounts/{nobody}/grant", "/accounts?after=x"):
        assert person.open(path).status in {404, 405}, path
    grant = {**token, "credits": "5", "reason": "x", "grant_id": "0" * 24}
    reason = {**token, "reason": "x"}
    for end, fields in (
        *(("grant", grant), ("suspend", reason), ("resume", token)),
        *(("reopen", reason), ("keys", token)),
    ):
        assert person.send(f"/accounts/{nobody}/{end}", fields).status == 404, end
    assert person.send(f"/accounts/{nobody}/keys/key_{'0' * 24}/revoke", token).status == 404


@pytest.fixture(scope="module")
def crawl(operator: Operator, target: Owner, suspended: Owner, closed: Owner) -> Iterator[Crawl]:
    """Every form at one browser, those of an account in each of its states among them."""
    with operator.at_a_browser() as person:
        crawl = crawl_of(person, target, suspended, closed)
        for action, form in crawl.forms.items():
            form.fields |= {name: [str(text)] for name, text in entered_into(action).items()}
        yield crawl


def test_markup_in_any_field_of_any_form_is_text(crawl: Crawl) -> None:
    filled_in = [(form, name) for form in fields_of(crawl) for name in sorted(form.names - {"form_token"})]
    assert {form.action.rpartition("/")[2] for form, _ in filled_in} >= {
        *("new", "accounts", "record", "grant", "suspend", "resume", "reopen", "keys", "confirm")
    }
    for form, name in filled_in:
        check_answer(crawl.send(form, {name: MARKUP}))
    for path in crawl.pages:
        check_answer(crawl.person.open(path))


@settings(max_examples=20)
@given(st.data())
def test_no_form_breaks_whatever_is_entered(crawl: Crawl, target: Owner, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(fields_of(crawl)))
    check_answer(crawl.send(form, crawl.filled_in(form, data)))
    assert 400 <= crawl.send_body(form, data.draw(BODIES)) < 500
    query = {name: data.draw(TEXT) for name in ("search", "after", "operator", "subject", "page")}
    path = data.draw(st.sampled_from(["/accounts", "/record", account_page(target)]))
    check_answer(crawl.person.open(path, params=query))


async def test_no_key_and_no_token_is_written_anywhere(
    operator: Operator, desk_of_operator: Person, mesh: LocalMesh
) -> None:
    _, token = desk_of_operator.session_cookie
    await eventually(lambda: desk_of_operator.open("/record").status == 200)
    paths = [path for path in mesh.state_dir.rglob("*") if path.is_file() and path.name != "credentials.json"]
    assert any(path.name == "operator_console.log" for path in paths)
    for path in paths:
        written = path.read_bytes()
        assert operator.key.encode() not in written, path
        assert token.encode() not in written, path
    metrics = httpx2.get(mesh.metrics["operator_console"]).text
    assert "tiermesh_console_operator_actions_total" in metrics
    assert all(text not in metrics for text in (operator.key, token, operator.name))
