"""The operators' console in a real Chromium, at two widths and in both schemes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.console.desk import SCHEMES, WIDTHS, Desk, check_page, press
from tests.integration.console.person import Operator, Owner
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


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_and_can_be_read(
    browser: Browser,
    mesh: LocalMesh,
    strange_operator: Operator,
    strange: Owner,
    width: int,
    scheme: str,
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]  # one of its literals
    desk = Desk(context, mesh.operator_console_url)
    page = desk.page
    page.goto(f"{desk.url}/accounts")
    check_page(page, "operators-sign-in", width, scheme)
    # By keyboard alone: the field has the focus without anybody's doing.
    expect(page.get_by_label("Operator key")).to_be_focused()
    page.keyboard.type(strange_operator.key)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.get_by_label("Name, account ID or key ID").fill(strange.account)
    press(page, "button", "Search")
    check_page(page, "operators-accounts", width, scheme)
    press(page, "link", STRANGE)
    page.get_by_label("Credits", exact=True).fill("12")
    page.get_by_label("Reason").first.fill(STRANGE)
    press(page, "button", "Grant the credits")
    check_page(page, "operators-account", width, scheme)
    page.get_by_label("Reason").last.fill(STRANGE)
    press(page, "button", "Suspend the account")
    expect(page.get_by_role("heading", name="Resume")).to_be_visible()
    check_page(page, "operators-account-suspended", width, scheme)
    press(page, "button", "Resume the account")
    press(page, "button", "Create the key")
    check_page(page, "operators-made-key", width, scheme)
    paths = ("/", "/accounts/new", "/runners", "/catalog", "/record", "/confirm", "/nothing")
    for path in paths:
        page.goto(desk.url + path)
        check_page(page, f"operators-{path.strip('/').replace('/', '-') or 'overview'}", width, scheme)
    page.goto(f"{desk.url}/money")
    press(page, "button", "Audit now")
    check_page(page, "operators-money", width, scheme)
    press(page, "button", "Sign out")
    expect(page.get_by_role("heading", name="Sign in as an operator")).to_be_visible()
    assert desk.foreign() == []
    # The browser itself tells of the page that is not there.
    assert [complaint for complaint in desk.complaints if "404" not in complaint] == []
    context.close()
