"""What owners do in the console, page by page, without scripts."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from tests.integration.console.person import Owner, PageShown, Person, beside
from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh

# The most that a page may weigh with all that it loads, in bytes.
MOST_BYTES = 100_000
PAGES = (
    *("/", "/keys", "/keys/new", "/playground", "/usage", "/receipts", "/top-up", "/models"),
    *("/account", "/account/close"),
)


def secret_on(page: PageShown) -> str:
    """Returns the key that a page shows once."""
    assert page.status == 200, page.source
    found = re.search(r'id="secret"[^>]*>([^<]+)<', page.source)
    assert found is not None
    return found[1]


def make_key(person: Person, **fields: object) -> str:
    return secret_on(person.fill_in("/keys/new", "/keys/new", **fields))


def status_of(mesh: LocalMesh, key: str, path: str = "/models") -> int:
    return httpx2.get(mesh.base_url + path, headers={"Authorization": f"Bearer {key}"}).status_code


def key_page(person: Person, secret: str) -> str:
    """Returns the path of a key's page, found by what the list shows of the key."""
    listed = person.open("/keys").source
    row = next(row for row in listed.split("<tr>") if f"<code>{secret[:16]}…" in row)
    found = re.search(r'href="(/keys/key_[0-9a-f]{24})">Manage', row)
    assert found is not None
    return found[1]


def test_somebody_who_is_not_signed_in_is_asked_to(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as person:
        for path in (*PAGES, "/confirm", "/keys/key_" + "0" * 24):
            answer = person.open(path)
            assert (answer.status, answer.location) == (303, f"/sign-in?next={path}")
        page = person.open("/sign-in?next=/models")
        assert page.status == 200
        assert page.forms["/sign-in"].fields["next"] == ["/models"]


def test_the_key_that_tiermesh_up_prints_signs_in_and_leads_on(mesh: LocalMesh) -> None:
    assert mesh.console_key in mesh.output
    assert f"Open {mesh.console_url} " in mesh.output
    with Person(mesh.console_url) as person:
        answer = person.fill_in("/sign-in?next=/models", "/sign-in", key=f" {mesh.console_key} ")
        assert (answer.status, answer.location) == (303, "/models")
        assert person.open("/sign-in").location == "/"
        left = mesh.command_now("balance")["available"]
        assert person.open("/").shows(f"{left:,} credits")


@pytest.mark.parametrize("key", ["", "sk-tiermesh-nonsense", "x" * 5000, "é\N{PILE OF POO}"])
def test_a_wrong_key_is_refused_and_not_repeated(mesh: LocalMesh, key: str) -> None:
    with Person(mesh.console_url) as person:
        page = person.sign_in(key)
        assert page.status == 403
        assert page.shows("Nothing was charged.")
        assert not key or key not in page.source
        assert "session" not in " ".join(person.cookies)


def test_a_key_without_the_scope_is_told_which_one_it_needs(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as person:
        page = person.sign_in(mesh.api_key)
        assert page.status == 403
        assert page.shows("lacks the scope 'keys'")
        assert mesh.api_key not in page.source


def test_the_overview_shows_what_the_api_says(mesh: LocalMesh) -> None:
    owner = Owner(mesh)
    with owner.at_a_browser() as person:
        before = person.open("/")
        assert before.shows("$10.00")
        headers = {"Authorization": f"Bearer {owner.key}"}
        ask(owner)
        after = person.open("/")
        left = httpx2.get(f"{mesh.base_url}/balance", headers=headers).json()["credits"]
        assert left == 990
        assert after.shows(f"${left / 100:.2f}")
        assert 'id="requests-today">1<' in after.source
        mesh.command_now("credits", "grant", owner.account, "10")
        for model in ("tiermesh-pro", "tiermesh-max"):
            assert after.shows(model)
        sold = httpx2.get(f"{mesh.base_url}/models", headers=headers).json()["data"]
        states = [each["available"] for each in sold]
        assert (after.source.count(">available<"), after.source.count(">no runner now<")) == (
            sum(states),
            states.count(False),
        )
        assert {True, False} == set(states)


def ask(owner: Owner, key: str = "") -> str:
    """Has a request answered, and returns its ID."""
    body = {"model": "tiermesh-pro", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {key or owner.key}"}
    answer = httpx2.post(f"{owner.mesh.base_url}/chat/completions", json=body, headers=headers)
    return str(answer.raise_for_status().headers["x-request-id"])


def test_usage_is_the_same_in_chart_table_and_file(mesh: LocalMesh) -> None:
    owner = Owner(mesh)
    with owner.at_a_browser() as person:
        assert person.open("/usage").shows("There were no requests")
        key = make_key(person, name="<b>second</b>")
        for _ in range(2):
            ask(owner)
        ask(owner, key)
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        by_day = person.open("/usage")
        assert by_day.source.count("<rect") == 30
        assert f"<title>{today}: 30 credits</title>" in by_day.source
        by_model = person.open("/usage?group_by=model")
        assert "<title>tiermesh-pro: 30 credits</title>" in by_model.source
        by_key = person.open("/usage?group_by=key")
        assert by_key.shows("<b>second</b>: 10 credits")
        for page in (by_day, by_model, by_key):
            foot = page.source.partition("<tfoot>")[2]
            assert re.findall(r">(\d+)(?: <|</td>)", foot)[:3] == ["3", "3", "30"]
        answer = person.http.get("/usage.csv?group_by=key")
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["content-disposition"].endswith(f'-{today}.csv"')
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert sorted((row["requests"], row["credits"]) for row in rows) == [("1", "10"), ("2", "20")]
        assert {row["key"] for row in rows} >= {owner.key_id}


@pytest.mark.parametrize("query", ["from=x", "from=2026-01-02&to=2026-01-01", "from=2020-01-01", "to=9999-12-31"])
def test_days_that_make_no_sense_are_explained(person: Person, query: str) -> None:
    page = person.open(f"/usage?{query}")
    assert (page.status, 'role="alert"' in page.source) == (400, True)
    assert person.http.get(f"/usage.csv?{query}").status_code == 400


def test_a_receipt_says_what_a_request_has_cost(mesh: LocalMesh) -> None:
    owner = Owner(mesh)
    with owner.at_a_browser() as person:
        request_id = ask(owner)
        page = person.open(f"/receipts?id={request_id}")
        for fact in (request_id, "10 credits", "completed", "tiermesh-pro", owner.key_id):
            assert page.shows(fact), fact
        listed = person.open("/receipts")
        assert f'href="/receipts?id={request_id}"' in listed.source
        assert re.findall(r">([+-][\d,]+)<", listed.source) == ["-10", "+1,000"]
        assert re.findall(r'after" class="num">([\d,]+)<', listed.source) == ["990", "1,000"]
        for missing in ("req_" + "0" * 32, "nonsense", "<b>"):
            page = person.open(f"/receipts?id={missing}")
            assert (page.status, page.shows("This account has no request with this ID.")) == (404, True)
        assert person.open("/receipts?page=1.2").status == 404
    with Owner(mesh, amount=0).at_a_browser() as neighbour:
        assert neighbour.open(f"/receipts?id={request_id}").status == 404
        assert neighbour.open("/receipts").shows("Nothing has moved yet.")


def test_many_movements_come_a_page_at_a_time(mesh: LocalMesh) -> None:
    owner = Owner(mesh, amount=2000)
    with owner.at_a_browser() as person:
        ids = [ask(owner) for _ in range(51)]
        path, found = "/receipts", []
        while path:
            page = person.open(path)
            assert page.status == 200
            found += re.findall(r'href="/receipts\?id=(req_\w+)"', page.source)
            onward = re.search(r'href="(/receipts\?page=[\d.]+)"', page.source)
            path = onward[1] if onward else ""
        assert found == ids[::-1]


def test_a_key_made_here_works_at_once_and_is_shown_once(person: Person, mesh: LocalMesh) -> None:
    page = person.fill_in("/keys/new", "/keys/new", name="my laptop")
    secret = secret_on(page)
    assert page.source.count(secret) > 4
    assert page.shows(f'base_url="{mesh.base_url}"')
    assert page.response.headers["cache-control"] == "no-store"
    assert status_of(mesh, secret) == 200
    assert status_of(mesh, secret, "/keys") == 403
    for path in ("/", "/keys", key_page(person, secret)):
        shown = person.open(path)
        assert shown.status == 200
        assert secret not in shown.source
    assert person.open("/keys").shows("my laptop")


def test_every_restriction_that_is_chosen_holds(person: Person) -> None:
    secret = make_key(
        person,
        name="narrow",
        model=["tiermesh-pro"],
        scope=["chat", "models"],
        requests_per_minute="7",
        monthly_credit_cap="1500",
        days="30",
    )
    page = person.open(key_page(person, secret))
    for fact in ("chat, models", "tiermesh-pro", ">7<", "1,500 credits ($15.00)"):
        assert fact in page.source, fact
    assert "Expires</dt><dd><time" in re.sub(r"\s+", "", page.source).replace("<dd><time", "<dd><time")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"requests_per_minute": "many"}, "Requests per minute must be a whole number"),
        ({"monthly_credit_cap": "1e3"}, "The monthly cap must be a whole number"),
        ({"days": "5"}, "Choose from the list"),
        ({"scope": []}, "Choose at least one scope"),
        ({"scope": ["everything"]}, "There is no endpoint"),
        ({"model": ["gpt-9"]}, "There is no model"),
        ({"name": "x" * 201}, "at most 200 are allowed"),
        ({"name": "a\0b"}, "control characters"),
    ],
)
def test_a_mistake_is_explained_and_what_was_entered_stays(
    person: Person, fields: dict[str, object], problem: str
) -> None:
    page = person.fill_in("/keys/new", "/keys/new", **{"name": "kept name", **fields})
    assert page.status == 400
    assert page.shows(problem)
    assert page.shows("Nothing was charged.")
    assert "name" in fields or page.shows("kept name")


def test_a_rotated_key_is_replaced_by_one_that_works(person: Person, mesh: LocalMesh) -> None:
    old = make_key(person, name="to rotate")
    path = key_page(person, old)
    new = secret_on(person.fill_in(path, f"{path}/rotate", overlap="3600"))
    assert [status_of(mesh, key) for key in (old, new)] == [200, 200]
    again = person.open(path)
    assert f"{path}/rotate" not in again.forms
    newest = secret_on(person.fill_in(key_page(person, new), f"{key_page(person, new)}/rotate", overlap="0"))
    assert [status_of(mesh, key) for key in (new, newest)] == [401, 200]


def test_a_key_is_revoked_with_what_it_has_made(person: Person, mesh: LocalMesh) -> None:
    maker = make_key(person, name="maker", scope=["chat", "models", "keys"])
    made = httpx2.post(
        f"{mesh.base_url}/keys", json={"name": "made"}, headers={"Authorization": f"Bearer {maker}"}
    ).json()["key"]
    path = key_page(person, maker)
    answer = person.fill_in(path, f"{path}/revoke", descendants="yes")
    assert (answer.status, answer.location) == (303, path)
    assert [status_of(mesh, key) for key in (maker, made)] == [401, 401]
    page = person.open(path)
    assert page.shows("This key does not work any more.")
    assert f"{path}/revoke" not in page.forms


def test_a_key_that_has_the_right_to_less_is_told_what_it_may_not_do(owner: Owner, mesh: LocalMesh) -> None:
    limited = mesh.command_now(
        "key", "create", owner.account, "--all-endpoints", "--rpm", "5", "--model", "tiermesh-pro"
    )
    with Person(mesh.console_url) as person:
        person.sign_in(limited["api_key"])
        form = person.open("/keys/new")
        assert "tiermesh-max" not in form.source
        page = person.fill_in("/keys/new", "/keys/new", requests_per_minute="6")
        assert (page.status, page.shows("'requests_per_minute' is 5")) == (400, True)
        path = f"/keys/{owner.key_id}"
        for action in ("rotate", "revoke"):
            refused = person.fill_in(path, f"{path}/{action}")
            assert (refused.status, 'role="alert"' in refused.source) == (409, True)
    assert status_of(mesh, owner.key) == 200


def test_many_keys_come_a_page_at_a_time(mesh: LocalMesh) -> None:
    with Owner(mesh).at_a_browser() as person:
        form = person.open("/keys/new").forms["/keys/new"]
        names = [f"key number {number}" for number in range(51)]
        for name in names:
            assert person.send("/keys/new", {**form.fields, "name": name}).status == 200
        first = person.open("/keys")
        found = re.search(r'href="(/keys\?after=[^"]+)"', first.source)
        assert found is not None
        assert person.weight(first) < MOST_BYTES
        second = person.open(found[1])
        shown = [re.findall(r"<bdi>(key number \d+)</bdi>", page.source) for page in (first, second)]
        assert [len(each) for each in shown] == [50, 1]
        assert sorted(shown[0] + shown[1]) == sorted(names)
        assert person.open("/keys?after=key_1").status == 404


def test_a_new_account_is_told_what_to_do_first(mesh: LocalMesh) -> None:
    with Owner(mesh, "newcomer", amount=0).at_a_browser() as person:
        page = person.open("/")
        assert page.shows("First steps")
        assert page.shows("There are no credits left")
        make_key(person)
        assert not person.open("/").shows("First steps")


def test_a_newcomer_opens_an_account_and_is_signed_in_by_its_key(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as person:
        assert 'href="/sign-up"' in person.open("/sign-in").source
        page = person.fill_in("/sign-up", "/sign-up", name="Zoë & <b>")
        secret = secret_on(page)
        assert page.shows("Zoë & <b>")
        assert "session" not in " ".join(person.cookies)
        answer = person.send("/sign-in", page.forms["/sign-in"].fields)
        assert (answer.status, answer.location) == (303, "/")
        overview = person.open("/")
        assert overview.shows("1,000 credits")
        assert overview.shows("First steps")
        assert person.open("/account").shows("Zoë & <b>")
        made = make_key(person)
        assert [status_of(mesh, key) for key in (secret, made)] == [200, 200]
    [account] = [each for each in mesh.command_now("account", "list") if each["name"] == "Zoë & <b>"]
    # Nobody has lifted the usual limit for somebody who is unknown.
    limits = [key["requests_per_minute"] for key in mesh.command_now("key", "list", account["id"])]
    assert limits == [60, 60]


@pytest.mark.parametrize(("name", "problem"), [("", "Enter a name"), ("x" * 201, "at most 200"), ("\x07", "control")])
def test_an_account_needs_a_name_that_can_be_shown(mesh: LocalMesh, name: str, problem: str) -> None:
    before = len(mesh.command_now("account", "list"))
    with Person(mesh.console_url) as person:
        page = person.fill_in("/sign-up", "/sign-up", name=name)
        assert (page.status, page.shows(problem)) == (400, True)
    assert len(mesh.command_now("account", "list")) == before


def test_an_account_is_renamed(mesh: LocalMesh) -> None:
    owner = Owner(mesh, "before")
    with owner.at_a_browser() as person, owner.at_a_browser() as elsewhere:
        for name, problem in (("", "Enter a name"), ("x" * 201, "at most 200"), ("a\x07b", "control characters")):
            page = person.fill_in("/account", "/account/name", name=name)
            assert (page.status, page.shows(problem)) == (400, True)
        assert person.fill_in("/account", "/account/name", name="Zoë & <b>").location == "/account"
        assert elsewhere.open("/account").shows("Zoë & <b>")
    [name] = [each["name"] for each in mesh.command_now("account", "list") if each["id"] == owner.account]
    assert name == "Zoë & <b>"


def test_sessions_are_listed_and_ended_one_by_one_or_together(mesh: LocalMesh) -> None:
    owner = Owner(mesh)
    with owner.at_a_browser() as one, owner.at_a_browser() as two, owner.at_a_browser() as three:
        page = one.open("/account")
        ends = [action for action in page.forms if action.startswith("/account/sessions/")]
        assert (len(ends), page.source.count("this one")) == (3, 1)
        # The newest comes first.
        assert one.fill_in("/account", ends[0]).status == 303
        assert [each.open("/").status for each in (one, two, three)] == [200, 200, 303]
        assert one.fill_in("/account", "/account/end-other-sessions").location == "/account"
        assert [each.open("/").status for each in (one, two)] == [200, 303]


def test_no_page_is_heavy(person: Person) -> None:
    make_key(person)
    for path in (*PAGES, "/sign-in", "/nothing"):
        page = person.open(path)
        loaded = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.source)
        # The pages of the account and of the playground have scripts of their own.
        assert path == "/sign-in" or len(loaded) == 3 + {"/account": 2, "/playground": 1}.get(path, 0)
        files = [person.http.get(each) for each in loaded]
        assert all(each.status_code == 200 and "immutable" in each.headers["cache-control"] for each in files)
        assert person.weight(page) < MOST_BYTES
        assert not re.search(r'(?:src|href|action)="(?![/#])', page.source), path


def test_a_year_of_usage_is_not_heavy(mesh: LocalMesh) -> None:
    owner, today = Owner(mesh), datetime.now(UTC).date()
    last = (today - date(1970, 1, 1)).days
    # A key of its own for every day, and figures as long as they get.
    figures = (987_654_321,) * 5
    rows = [(owner.account, day, f"key_{day:024x}", "tiermesh-pro", *figures) for day in range(last - 365, last + 1)]
    year = f"from={today - timedelta(days=365)}&to={today}"
    with (
        closing(sqlite3.connect(mesh.state_dir / "billing.db", timeout=30)) as database,
        owner.at_a_browser() as person,
    ):
        try:
            with database:
                database.executemany("INSERT INTO daily_usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            for group in ("day", "key", "model"):
                page = person.open(f"/usage?{year}&group_by={group}")
                assert page.shows(f"{366 * figures[0]:,}")
                assert person.weight(page) < MOST_BYTES, group
        finally:
            # An audit would find that there are no such requests.
            with database:
                database.execute("DELETE FROM daily_usage WHERE account_id = ?", (owner.account,))


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("PUT", "/", 405), ("POST", "/keys", 405)]
)
def test_there_is_a_page_for_what_is_not_there(person: Person, method: str, path: str, status: int) -> None:
    page = PageShown(person.http.request(method, path, headers={"Origin": person.url}))
    assert page.status == status
    assert page.shows("Nothing was charged.")


async def test_the_rest_is_shown_when_a_part_is_away(mesh: LocalMesh, tmp_path: Path) -> None:
    addresses = beside(mesh)
    nowhere = {"billing_addresses": "127.0.0.1:1", "router_addresses": "127.0.0.1:1"}
    async with ForkedServiceProcess("console", tmp_path, {**addresses, **nowhere, "call_timeout": "2"}) as console:
        with Person(f"http://{console.address}") as person:
            assert person.sign_in(mesh.console_key).status == 303
            page = person.open("/")
            assert page.status == 200
            assert page.shows("The balance cannot be read at the moment")
            assert page.source.count(">unknown<") == page.source.count('data-label="Now"') > 1
    async with ForkedServiceProcess("console", tmp_path, {**addresses, "auth_addresses": "127.0.0.1:1"}) as console:
        with Person(f"http://{console.address}") as person:
            page = person.sign_in(mesh.console_key)
            assert (page.status, page.shows("A part of the service cannot be reached")) == (503, True)
        assert await console.stop() == 0


def test_a_signed_receipt_is_checked_without_scripts(mesh: LocalMesh) -> None:
    owner = Owner(mesh)
    body = {"model": "tiermesh-pro", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {owner.key}"}
    answer = httpx2.post(f"{mesh.base_url}/chat/completions", json=body, headers=headers).raise_for_status()
    receipt = answer.headers["x-tiermesh-receipt"]
    with owner.at_a_browser() as person:
        good = person.fill_in("/receipts", "/receipts/verify", receipt=f"x-tiermesh-receipt: {receipt}\r\n")
        assert good.status == 200
        assert good.shows("This receipt is genuine.")
        assert good.shows(answer.headers["x-request-id"])
        assert good.shows("10 credits")
        assert good.shows(hashlib.sha256(answer.content).hexdigest())
        head, claims, signature = receipt.split(".")
        for wrong, reason in (
            (f"{head}.f{claims[1:]}.{signature}", "somebody has changed it"),
            (f"{head}.{claims}.{signature[::-1]}", "receipt"),
            ("<b>nonsense</b>", "This is no receipt."),
            ("", "This is no receipt."),
        ):
            bad = person.fill_in("/receipts", "/receipts/verify", receipt=wrong)
            assert bad.status == 400
            assert bad.shows(reason)
            assert "genuine.</strong>" not in bad.source
            assert "<b>nonsense" not in bad.source
