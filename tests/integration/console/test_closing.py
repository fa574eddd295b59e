"""An owner closes an account: nobody gets in, nothing is lost, and operators see it and undo it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from services.console.closing.close_account import CONFIRMATION
from tests.integration.billing.deposits_for_tests import CHAIN
from tests.integration.cli.test_deposits import deposit
from tests.integration.console.person import Owner, Person, beside
from tests.integration.console.test_operator_pages import account_page, record_of
from tests.integration.console.test_pages import make_key, status_of
from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

CLOSE = "/account/close"
CREDITS = 250


def close(person: Person) -> str:
    """Closes the account at a browser, and returns the last page."""
    page = person.fill_in(CLOSE, CLOSE, confirmation=CONFIRMATION)
    assert page.status == 200, page.source
    return page.source


def test_a_closed_account_lets_nobody_in_and_loses_nothing(desk_of_operator: Person, mesh: LocalMesh) -> None:
    operator, owner = desk_of_operator, Owner(mesh, "leaves")
    path = account_page(owner)
    headers = {"Authorization": f"Bearer {owner.key}"}
    body: dict[str, Any] = {
        "model": "tiermesh-pro",
        "stream": True,
        "max_tokens": 60,
        "messages": [{"role": "user", "content": "hi"}],
    }
    with owner.at_a_browser() as person, owner.at_a_browser() as elsewhere:
        made = make_key(person)
        assert f'href="{CLOSE}"' in person.open("/account").source
        with httpx2.stream("POST", f"{mesh.base_url}/chat/completions", json=body, headers=headers) as running:
            lines = running.iter_lines()
            next(lines)
            page = person.open(CLOSE)
            for fact in ("990 credits", "$9.90", "10 credits. Requests that run now are finished", "403", "signed out"):
                assert page.shows(fact), fact
            for wrong in ("", "close", owner.account):
                refused = person.fill_in(CLOSE, CLOSE, confirmation=wrong)
                assert (refused.status, 'role="alert"' in refused.source) == (400, True)
            assert elsewhere.open("/").status == 200
            assert owner.account in close(person)
            # What has begun is finished, and charged.
            assert "data: [DONE]" in list(lines)
        for each in (person, elsewhere):
            assert each.open("/").location == "/sign-in?next=/"
        assert "session" not in " ".join(person.cookies)
    # For a moment, the edge goes by what it was told when the stream began.
    asyncio.run(eventually(lambda: status_of(mesh, owner.key, "/balance") == 403, 1))
    refused_request = httpx2.post(f"{mesh.base_url}/chat/completions", json={**body, "stream": False}, headers=headers)
    assert (refused_request.status_code, refused_request.json()["error"]["code"]) == (403, "permission_denied")
    assert "The account is closed. Its credits are kept." in refused_request.json()["error"]["message"]
    assert [status_of(mesh, made), status_of(mesh, owner.key, "/balance")] == [403, 403]
    with Person(mesh.console_url) as stranger:
        answer = stranger.sign_in(owner.key)
        assert (answer.status, answer.shows("The account is closed.")) == (403, True)
    assert mesh.command_now("balance", owner.account) == {"account_id": owner.account, "available": 990, "held": 0}
    asyncio.run(deposit(mesh, owner.account, CREDITS * 10_000))
    listed = operator.open("/accounts?state=closed&search=leaves")
    row = next(row for row in listed.source.split("<tr>") if f'href="{path}"' in row)
    assert re.search(rf'class="num"><span>{990 + CREDITS:,}<', row)
    shown = operator.open(path)
    for fact in (">closed<", f"{990 + CREDITS:,} credits", "Deposit"):
        assert fact in shown.source, fact
    [line] = [line for line in record_of(operator, owner.account) if "the owner" in line]
    assert line.endswith(f"Closed an account {owner.account} Signed in with {owner.key_id}. done")
    arrived = operator.open("/money").source.partition("<h2>Deposits</h2>")[2].split("</tr>")[1]
    for fact in (path, f">{CREDITS / 100:.2f}<", f">{CREDITS}<", f">{CHAIN}<"):
        assert fact in arrived, fact
    assert operator.fill_in(path, f"{path}/reopen", reason=" ").status == 400
    assert operator.fill_in(path, f"{path}/reopen", reason="asked by mail").location == path
    assert record_of(operator, owner.account)[0].endswith(" asked by mail done")
    assert [status_of(mesh, key) for key in (owner.key, made)] == [200, 200]
    assert f'href="{path}"' not in operator.open("/accounts?state=closed").source
    assert mesh.command_now("balance", owner.account)["available"] == 990 + CREDITS


def test_management_commands_reopen_and_list_it(mesh: LocalMesh, desk_of_operator: Person) -> None:
    owner = Owner(mesh, "by command", amount=0)
    with owner.at_a_browser() as person:
        close(person)
    [listed] = [each for each in mesh.command_now("account", "list") if each["id"] == owner.account]
    assert listed["closed_at_ms"] > listed["created_at_ms"]
    assert mesh.command_now("account", "reopen", owner.account, "--reason", "a test")["closed_at_ms"] == 0
    assert status_of(mesh, owner.key) == 200
    assert "Reopened an account" in record_of(desk_of_operator, owner.account)[0]


def test_a_key_with_less_rights_does_not_close_the_account(owner: Owner, mesh: LocalMesh) -> None:
    limited = mesh.command_now("key", "create", owner.account, "--all-endpoints", "--rpm", "5")
    with Person(mesh.console_url) as person:
        person.sign_in(limited["api_key"])
        page = person.fill_in(CLOSE, CLOSE, confirmation=CONFIRMATION)
        assert (page.status, page.shows("may not revoke every key of the account")) == (403, True)
        assert person.open("/").status == 200
    assert status_of(mesh, owner.key) == 200


async def test_it_needs_what_signed_in_once_more(owner: Owner, mesh: LocalMesh, tmp_path: Path) -> None:
    async with ForkedServiceProcess("console", tmp_path, {**beside(mesh), "fresh_seconds": "0.000001"}) as console:
        with Person(f"http://{console.address}") as person:
            person.sign_in(owner.key)
            again = f"/confirm?next={CLOSE}"
            assert person.open(CLOSE).location == again
            fields = {"form_token": person.token("/account"), "confirmation": CONFIRMATION}
            assert person.send(CLOSE, fields).location == again
            assert person.fill_in(again, "/confirm", key=owner.key).location == CLOSE
    assert status_of(mesh, owner.key) == 200


@pytest.mark.parametrize("query", ["state=closed", "state=closed&search=nobody-is-called-this", "state=open"])
def test_lists_of_accounts_say_what_they_are(desk_of_operator: Person, query: str) -> None:
    page = desk_of_operator.open(f"/accounts?{query}")
    assert page.status == 200
    assert ("Credits left" in page.source or page.shows("No owner has closed")) == query.startswith("state=closed")
