"""What operators do in their console, page by page, without scripts."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest

from services.common.settings import DEFAULT_CATALOG
from tests.integration.console.person import Operator, Owner, PageShown, Person, operators_beside
from tests.integration.console.test_pages import MOST_BYTES, ask, secret_on, status_of
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually
from tiermesh.auth.v1 import operators_pb2, operators_pb2_grpc

DEARER_CATALOG = DEFAULT_CATALOG.read_text().replace("price: 10", "price: 11")
OPERATOR_PAGES = ("/", "/accounts", "/accounts/new", "/runners", "/money", "/catalog", "/record")


def account_page(owner: Owner) -> str:
    return f"/accounts/{owner.account}"


def figures(page: PageShown) -> dict[str, int]:
    """Returns the numbers among the facts of a page, by what they are."""
    facts = re.findall(r"<dt>([^<]+)</dt><dd>(?:<strong[^>]*>)?([\d,]+)", page.source)
    return {name: int(number.replace(",", "")) for name, number in facts}


def record_of(person: Person, subject: str) -> list[str]:
    """Returns the lines of the record about something, newest first, each as text with single spaces."""
    source = person.open(f"/record?subject={subject}").source
    body = source.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = [re.sub(r"<[^>]+>", " ", row) for row in body.split("</tr>")]
    return [" ".join(row.split()) for row in rows if row.strip()]


def models_answered(mesh: LocalMesh, key: str) -> int:
    """Returns the status of a request for a completion."""
    body = {"model": "tiermesh-pro", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    return httpx2.post(
        f"{mesh.base_url}/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}
    ).status_code


def test_somebody_who_is_not_signed_in_is_asked_to(mesh: LocalMesh) -> None:
    with Person(mesh.operator_console_url) as person:
        for path in (*OPERATOR_PAGES, "/confirm", "/accounts/acct_" + "0" * 24):
            answer = person.open(path)
            assert (answer.status, answer.location) == (303, f"/sign-in?next={path}")


def test_the_key_that_tiermesh_up_prints_signs_in(mesh: LocalMesh) -> None:
    assert mesh.operator_key in mesh.output
    assert f"Open {mesh.operator_console_url} " in mesh.output
    with Person(mesh.operator_console_url) as person:
        assert person.sign_in(mesh.operator_key).location == "/"
        page = person.open("/")
        for text in ("pro", "1 of 1", "Last actions"):
            assert page.shows(text)


def test_an_account_is_opened_found_and_given_credits_and_a_key(desk_of_operator: Person, mesh: LocalMesh) -> None:
    person, name = desk_of_operator, "ACME & <b>Sons</b>"
    assert person.fill_in("/accounts/new", "/accounts/new", name="").status == 400
    refused = person.fill_in("/accounts/new", "/accounts/new", name="x" * 201)
    assert (refused.status, refused.shows("at most 200")) == (400, True)
    path = person.fill_in("/accounts/new", "/accounts/new", name=name).location
    account_id = path.rpartition("/")[2]
    key = secret_on(person.fill_in(path, f"{path}/keys", name="of the owner"))
    form = person.open(path).forms[f"{path}/grant"].fields
    grant = {**form, "credits": "1500", "reason": "invoice 17 <i>"}
    # A form that is sent twice gives once.
    assert [person.send(f"{path}/grant", grant).location for _ in range(2)] == [path, path]
    page = person.open(path)
    assert page.shows("1,500 credits")
    assert page.shows("Credits granted")
    assert mesh.command_now("balance", account_id)["available"] == 1500
    assert models_answered(mesh, key) == 200
    key_id = next(each["id"] for each in mesh.command_now("key", "list", account_id))
    for search in ("acme %26", account_id, key_id):
        assert f'href="{path}"' in person.open(f"/accounts?search={search}").source
    assert person.open("/accounts?search=no-such-name").shows("No account is like this.")
    first, second = record_of(person, account_id)[:2]
    for line in (first, second):
        assert "Granted credits" in line
        assert "1,500 credits. invoice 17 &lt;i&gt; done" in line
    assert person.fill_in(path, f"{path}/keys/{key_id}/revoke").location == path
    assert status_of(mesh, key) == 401
    assert f"{path}/keys/{key_id}/revoke" not in person.open(path).forms


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"credits": "", "reason": "x"}, "at least 1"),
        ({"credits": "0", "reason": "x"}, "at least 1"),
        ({"credits": "1e3", "reason": "x"}, "must be a whole number"),
        ({"credits": "-5", "reason": "x"}, "must be a whole number"),
        ({"credits": "5", "reason": " "}, "Enter the reason"),
        ({"credits": "5", "reason": "x", "grant_id": "inv-17"}, "Reload the page"),
        ({"credits": "5", "reason": "x" * 201}, "at most 200"),
    ],
)
def test_a_grant_that_makes_no_sense_is_explained(
    desk_of_operator: Person, owner: Owner, mesh: LocalMesh, fields: dict[str, str], problem: str
) -> None:
    before = mesh.command_now("balance", owner.account)
    page = desk_of_operator.fill_in(account_page(owner), f"{account_page(owner)}/grant", **fields)
    assert (page.status, page.shows(problem)) == (400, True)
    assert mesh.command_now("balance", owner.account) == before


def test_a_suspended_account_is_refused_everywhere_and_loses_nothing(desk_of_operator: Person, mesh: LocalMesh) -> None:
    person, owner = desk_of_operator, Owner(mesh)
    path = account_page(owner)
    with owner.at_a_browser() as signed_in:
        headers = {"Authorization": f"Bearer {owner.key}"}
        body: dict[str, Any] = {
            "model": "tiermesh-pro",
            "stream": True,
            "max_tokens": 40,
            "messages": [{"role": "user", "content": "hi"}],
        }
        url = f"{mesh.base_url}/chat/completions"
        with httpx2.stream("POST", url, json=body, headers=headers) as running:
            lines = running.iter_lines()
            next(lines)
            assert person.fill_in(path, f"{path}/suspend", reason="").status == 400
            assert person.fill_in(path, f"{path}/suspend", reason="unpaid").location == path
            assert person.open(path).shows("suspended")
            # For a moment, the edge goes by what it was told when the stream began.
            asyncio.run(eventually(lambda: status_of(mesh, owner.key, "/balance") == 403, 1))
            refused = httpx2.post(url, json={**body, "stream": False}, headers=headers)
            # What has begun is finished.
            assert "data: [DONE]" in list(lines)
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "permission_denied"
        assert "suspended" in refused.json()["error"]["message"]
        message = httpx2.post(
            f"{mesh.base_url}/messages",
            json={"model": "tiermesh-pro", "max_tokens": 1, "messages": body["messages"]},
            headers={"x-api-key": owner.key},
        )
        assert (message.status_code, message.json()["error"]["type"]) == (403, "permission_error")
        assert status_of(mesh, owner.key, "/balance") == 403
        assert signed_in.open("/").status == 303
        with Person(mesh.console_url) as other:
            page = other.sign_in(owner.key)
            assert (page.status, page.shows("suspended")) == (403, True)
        assert mesh.command_now("balance", owner.account)["available"] == 990
        assert person.fill_in(path, f"{path}/resume", reason="paid").location == path
        assert status_of(mesh, owner.key) == 200
    assert mesh.command_now("balance", owner.account) == {"account_id": owner.account, "available": 990, "held": 0}
    resumed, suspended = record_of(person, owner.account)[:2]
    assert resumed.endswith(" paid done")
    assert suspended.endswith(" unpaid done")


async def test_a_drained_runner_gets_nothing_until_it_is_undrained(
    desk_of_operator: Person, mesh: LocalMesh, owner: Owner
) -> None:
    person = desk_of_operator
    runners = await mesh.command("runners")
    drains = [action for action in person.open("/runners").forms if action.endswith("/drain")]
    assert sorted(drains) == sorted(f"/runners/{each['id']}/drain" for each in runners)
    [runner] = [each for each in runners if each["tier"] == "pro"]
    drain = f"/runners/{runner['id']}/drain"
    assert person.fill_in("/runners", drain).location == "/runners"
    try:
        assert person.open("/runners").shows("drained")
        assert states(mesh) == ["drained"]
        assert models_answered(mesh, owner.key) == 503
        page = person.open("/runners")
        assert page.shows("there was no runner that could do it")
        # A router that starts hears of it from etcd.
        pid = mesh.kill("router")
        await mesh.until_restarted("router", pid)
        await eventually(lambda: states(mesh) == ["drained"], 30)
    finally:
        undrain = drain.replace("/drain", "/undrain")
        await eventually(lambda: undrain in person.open("/runners").forms, 30)
        assert person.fill_in("/runners", undrain).location == "/runners"
    assert states(mesh) == ["ready"]
    await eventually(lambda: models_answered(mesh, owner.key) == 200)
    for verb, state in (("drain", "drained"), ("undrain", "ready")):
        assert mesh.command_now("runner", verb, runner["id"])["drained"] is (verb == "drain")
        assert states(mesh) == [state]
    nobody = person.send("/runners/nobody/drain", {"form_token": person.token("/runners")})
    assert (nobody.status, nobody.shows("There is no such runner")) == (409, True)
    assert "refused" in record_of(person, "nobody")[0]


def states(mesh: LocalMesh) -> list[str]:
    """Returns the states of the runners of tier pro; none while the router starts."""
    try:
        return [each["state"] for each in mesh.command_now("runners") if each["tier"] == "pro"]
    except AssertionError:
        return []


def test_the_ledger_is_audited_and_its_figures_add_up(desk_of_operator: Person, owner: Owner, mesh: LocalMesh) -> None:
    ask(owner)
    page = desk_of_operator.fill_in("/money", "/money/audit")
    assert page.shows("The ledger is sound.")
    found, audit = figures(page), mesh.command_now("ledger", "audit")
    spent_or_not = found["Charged"] + found["Available to accounts"] + found["Held"]
    assert found["Granted"] + found["Deposited"] == spent_or_not == audit["granted"] + audit["deposited"]
    assert (found["Charged"], found["Entries"]) == (audit["revenue"], audit["entries"])
    assert found["Charged"] >= 10
    assert page.shows(f"sound, {audit['entries']:,} entries")


def test_the_catalog_is_the_same_everywhere(desk_of_operator: Person) -> None:
    page = desk_of_operator.open("/catalog")
    assert page.source.count(">the same<") == 3
    assert ">not reached<" not in page.source
    assert page.shows("tiermesh-pro")


def test_the_record_is_filtered_and_shown_a_page_at_a_time(
    desk_of_operator: Person, operator: Operator, mesh: LocalMesh
) -> None:
    person = desk_of_operator
    token = {"form_token": person.token("/runners")}
    with grpc.insecure_channel(mesh.addresses["auth"]) as channel:
        begin = operators_pb2_grpc.OperatorServiceStub(channel).BeginCommand
        for number in range(50):
            action_id = f"act_{number:024x}"
            begin(
                operators_pb2.BeginCommandRequest(
                    action_id=action_id, action="undrain_runner", subject=f"paged-{number}"
                )
            )
    assert person.send("/runners/paged-50/undrain", token).status == 303
    first = person.open("/record?action=undrain_runner")
    found = re.search(r'href="(/record\?[^"]*page=\d+)"', first.source)
    assert found is not None
    second = person.open(found[1].replace("&amp;", "&"))
    shown = re.findall(r"<code>(paged-\d+)</code>", first.source + second.source)
    assert shown == [f"paged-{number}" for number in range(50, -1, -1)]
    mine = person.http.get("/record", params={"operator": operator.name, "action": "undrain_runner"})
    assert PageShown(mine).shows(operator.name)
    assert "paged-50" in mine.text
    assert person.open("/record?operator=nobody").shows("Nothing like this is recorded")
    assert person.open("/record?page=x").status == 404


def test_management_commands_are_recorded_too(desk_of_operator: Person, mesh: LocalMesh) -> None:
    owner = Owner(mesh, "by command", amount=7)
    granted = record_of(desk_of_operator, owner.account)[-1]
    assert "command line: " in granted
    assert "Granted credits" in granted
    assert "7 credits. done" in granted
    mesh.command_now("account", "suspend", owner.account, "--reason", "a test")
    assert status_of(mesh, owner.key) == 403
    mesh.command_now("account", "resume", owner.account)
    assert status_of(mesh, owner.key) == 200
    assert "a test done" in record_of(desk_of_operator, owner.account)[1]
    [account] = [each for each in mesh.command_now("account", "list") if each["id"] == owner.account]
    assert account["suspended_at_ms"] == 0


def test_no_page_is_heavy(desk_of_operator: Person, owner: Owner) -> None:
    for path in (*OPERATOR_PAGES, account_page(owner), "/sign-in", "/nothing"):
        page = desk_of_operator.open(path)
        assert desk_of_operator.weight(page) < MOST_BYTES
        assert not re.search(r'(?:src|href|action)="(?![/#])', page.source), path


async def test_what_is_away_and_what_differs_is_shown(
    operator: Operator, owner: Owner, mesh: LocalMesh, tmp_path: Path
) -> None:
    catalog = tmp_path / "other.yaml"
    catalog.write_text(DEARER_CATALOG)
    away = {"billing_addresses": "127.0.0.1:1", "router_addresses": "127.0.0.1:1", "call_timeout": "2"}
    link = "https://grafana.example.org/d/tiers"
    async with operators_beside(mesh, tmp_path, **away, grafana_url=link, catalog_file=str(catalog)) as console:
        with Person(f"http://{console.address}") as person:
            person.sign_in(operator.key)
            page = person.open("/")
            assert (page.status, page.shows("No router can be reached")) == (200, True)
            assert f'href="{link}"' in page.source
            shown = person.open(account_page(owner))
            assert (shown.status, shown.shows("unknown at the moment")) == (200, True)
            catalogs = person.open("/catalog").source
            assert [catalogs.count(f">{state}<") for state in ("another one", "not reached")] == [1, 2]
            failed = person.fill_in("/money", "/money/audit")
            assert failed.status == 503
            assert "unknown" in person.open("/record?action=audit_ledger").source.split("</tr>")[1]
        metrics = await console.metrics()
        assert 'tiermesh_console_operator_actions_total{action="audit_ledger",outcome="unknown"} 1.0' in metrics
        assert await console.stop() == 0
