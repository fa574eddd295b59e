"""The operators' console in a real Chromium, at two widths and in both schemes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.console.desk import SCREENS, Screen, check_page, press
from tests.integration.console.person import Operator, Owner
from tests.integration.console.test_closing import close
from tests.support.mesh import LocalMesh

STRANGE = "\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED} \N{PARTY POPPER} " + "W" * 120


@pytest.fixture(scope="module")
def strange_operator(mesh: LocalMesh) -> Operator:
    """An operator whose name is as awkward as names get."""
    return Operator(mesh, STRANGE)


@pytest.fixture(scope="module")
def strange(mesh: LocalMesh) -> Owner:
    """An owner with such a name, and with very many credits."""
    return Owner(mesh, STRANGE, amount=987_654_321)


@pytest.fixture
def closed(mesh: LocalMesh) -> Owner:
    """An owner of such a name who has closed the account."""
    owner = Owner(mesh, f"{STRANGE} closed", amount=987_654_321)
    with owner.at_a_browser() as person:
        close(person)
    return owner


@pytest.mark.timeout(300)
@pytest.mark.parametrize("screen", SCREENS, ids=str)
def test_every_page_fits_and_can_be_read(
    browser: Browser,
    mesh: LocalMesh,
    strange_operator: Operator,
    strange: Owner,
    closed: Owner,
    screen: Screen,
) -> None:
    desk = screen.open(browser, mesh.operator_console_url)
    page = desk.page
    page.goto(f"{desk.url}/accounts")
    check_page(page, "operators-sign-in", screen)
    # By keyboard alone: the field has the focus without anybody's doing.
    expect(page.get_by_label("Operator key")).to_be_focused()
    page.keyboard.type(strange_operator.key)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.get_by_label("Name, account ID or key ID").fill(strange.account)
    press(page, "button", "Search")
    check_page(page, "operators-accounts", screen)
    press(page, "link", STRANGE)
    page.get_by_label("Credits", exact=True).fill("12")
    page.get_by_label("Reason").first.fill(STRANGE)
    press(page, "button", "Grant the credits")
    check_page(page, "operators-account", screen)
    page.get_by_label("Reason").last.fill(STRANGE)
    press(page, "button", "Suspend the account")
    expect(page.get_by_role("heading", name="Resume")).to_be_visible()
    check_page(page, "operators-account-suspended", screen)
    press(page, "button", "Resume the account")
    page.goto(f"{desk.url}/accounts")
    page.get_by_label("Name, account ID or key ID").fill(closed.account)
    page.get_by_label("State").select_option("closed by their owners")
    press(page, "button", "Search")
    check_page(page, "operators-accounts-closed", screen)
    press(page, "link", closed_name := f"{STRANGE} closed")
    check_page(page, "operators-account-closed", screen)
    page.get_by_label("Reason").first.fill(closed_name)
    press(page, "button", "Reopen the account")
    expect(page.get_by_role("heading", name="Reopen")).to_be_hidden()
    page.goto(f"{desk.url}/accounts/{strange.account}")
    press(page, "button", "Create the key")
    check_page(page, "operators-made-key", screen)
    paths = ("/", "/accounts/new", "/runners", "/catalog", "/record", "/confirm", "/nothing")
    for path in paths:
        page.goto(desk.url + path)
        check_page(page, f"operators-{path.strip('/').replace('/', '-') or 'overview'}", screen)
    page.goto(f"{desk.url}/money")
    press(page, "button", "Audit now")
    check_page(page, "operators-money", screen)
    press(page, "button", "Sign out")
    expect(page.get_by_role("heading", name="Sign in as an operator")).to_be_visible()
    assert desk.foreign() == []
    # The browser itself tells of the page that is not there.
    assert [complaint for complaint in desk.complaints if "404" not in complaint] == []
    desk.context.close()
