"""Topping up without scripts: whose address is shown, what is said about the money, and who gets nowhere."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.console.crawl import BODIES, TEXT
from tests.integration.console.deposit_mesh import DepositMesh
from tests.integration.console.person import Owner, PageShown, Person
from tests.integration.console.test_attacks import EVIL
from tests.support.deadlines import stretched
from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh

CREATE = "/top-up/address"


def address_on(page: PageShown) -> str:
    """Returns the deposit address that a page shows, empty if it shows none."""
    found = re.search(r'id="deposit-address"[^>]*>(0x[0-9a-fA-F]{40})<', page.source)
    return found[1] if found else ""


def with_address(person: Person) -> str:
    """Has an address created, and returns it."""
    answer = person.fill_in("/top-up", CREATE)
    assert (answer.status, answer.location) == (303, "/top-up")
    return address_on(person.open("/top-up"))


def test_without_payments_the_page_says_how_credits_come(mesh: LocalMesh) -> None:
    owner = Owner(mesh, amount=12_345)
    with owner.at_a_browser() as person:
        page = person.open("/top-up")
        assert page.shows("Credits come from the operator of this service")
        assert page.shows(owner.account)
        assert page.source.partition('id="grants"')[2].count("+12,345") == 1
        assert CREATE not in page.forms
        assert person.send(CREATE, {"form_token": person.token()}).status == 404
    with Owner(mesh, amount=0).at_a_browser() as person:
        assert person.open("/top-up").shows("has granted no credits to this account")


def test_an_address_is_created_once_and_explained(mesh: LocalMesh, deposit_mesh: DepositMesh) -> None:
    with Owner(mesh, amount=0).at_a_browser(deposit_mesh.url) as person:
        before = person.open("/top-up")
        assert (address_on(before), before.shows("Your account has no deposit address yet")) == ("", True)
        address = with_address(person)
        assert address
        assert with_address_again(person) == address
        page = person.open("/top-up")
        for text in ("USD Coin", "Base (chain ID 31337)", deposit_mesh.token.address, "Nothing is on its way"):
            assert page.shows(text), text
        assert 'aria-label="QR code of the address"' in page.source
        # The operator sees the same address.
        [listed] = mesh.command_now("deposits", "address", owner_of(person))
        assert listed["address"] == address.lower()


def with_address_again(person: Person) -> str:
    answer = person.send(CREATE, {"form_token": person.token()})
    assert (answer.status, answer.location) == (303, "/top-up")
    return address_on(person.open("/top-up"))


def owner_of(person: Person) -> str:
    found = re.search(r"acct_[0-9a-f]{24}", person.open("/account").source)
    assert found is not None
    return found[0]


def test_another_owners_address_and_deposits_are_out_of_reach(mesh: LocalMesh, deposit_mesh: DepositMesh) -> None:
    one, two = Owner(mesh, amount=0), Owner(mesh, amount=0)
    with one.at_a_browser(deposit_mesh.url) as person, two.at_a_browser(deposit_mesh.url) as neighbour:
        theirs = with_address(neighbour)
        for query in (f"account_id={two.account}", f"account={two.account}", f"address={theirs}"):
            assert theirs not in person.open(f"/top-up?{query}").source
        fields = {"form_token": person.token(), "account_id": two.account, "account": two.account}
        assert person.send(CREATE, fields).status == 303
        own = address_on(person.open("/top-up"))
        assert own not in {"", theirs}
        tx = deposit_mesh.token.transfer(theirs, 50_000)
        deposit_mesh.finalize()
        shown = until(neighbour, 'id="deposits"')
        assert tx in shown.source
        for path in ("/top-up", "/top-up?before=999999999"):
            assert tx not in person.open(path).source
        assert person.open("/top-up").shows("No deposit was credited yet.")
        for before in ("0", "-1", "1e3", "x", "9" * 30):
            assert person.open(f"/top-up?before={before}").status == 404


def until(person: Person, text: str) -> PageShown:
    """Reloads the page until it has a text."""
    deadline = time.monotonic() + stretched(15)
    while text not in (page := person.open("/top-up")).source:
        assert time.monotonic() < deadline, page.source
    return page


def test_another_sites_form_creates_nothing(mesh: LocalMesh, deposit_mesh: DepositMesh) -> None:
    with Owner(mesh, amount=0).at_a_browser(deposit_mesh.url) as person:
        fields = person.open("/top-up").forms[CREATE].fields
        for origin in (EVIL, "null", None):
            assert person.send(CREATE, fields, origin=origin).status == 403
        assert person.send(CREATE, {"form_token": "0" * 64}).status == 403
        assert person.open(CREATE).status in {404, 405}
        assert address_on(person.open("/top-up")) == ""
    with Person(deposit_mesh.url) as stranger:
        assert stranger.open("/top-up").location == "/sign-in?next=/top-up"
        assert stranger.send(CREATE, {"form_token": stranger.token("/sign-in")}).status == 303


@settings(max_examples=10)
@given(st.dictionaries(st.sampled_from(["account_id", "address", "before", "name"]), TEXT, max_size=3), BODIES)
def test_whatever_is_entered_nothing_breaks(signed_in: Person, entered: dict[str, str], body: bytes) -> None:
    page = signed_in.send(CREATE, {"form_token": signed_in.token(), **entered})
    assert page.status < 500
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": signed_in.url}
    assert 400 <= signed_in.http.post(CREATE, content=body, headers=headers).status_code < 500
    assert signed_in.http.get("/top-up", params=entered).status_code < 500


@pytest.fixture(scope="module")
def signed_in(mesh: LocalMesh, deposit_mesh: DepositMesh) -> Person:
    return Owner(mesh, amount=0).at_a_browser(deposit_mesh.url)


async def test_while_payments_is_away_the_page_says_what_happens_to_the_money(
    mesh: LocalMesh, deposit_mesh: DepositMesh, tmp_path: Path
) -> None:
    owner = Owner(mesh, amount=777)
    away = deposit_mesh.settings(payments_addresses="127.0.0.1:1", call_timeout="1")
    async with ForkedServiceProcess("console", tmp_path, away) as console:
        with owner.at_a_browser(f"http://localhost:{console.address.rpartition(':')[2]}") as person:
            page = person.open("/top-up")
            assert page.status == 200
            assert page.shows("What you have sent is not lost")
            assert page.shows("+777")
            refused = person.send(CREATE, {"form_token": person.token()})
            assert refused.status == 503
            assert refused.shows("The address could not be created at the moment.")
            assert refused.shows("Nothing was charged.")
