"""Wallets in a real Chromium, with a provider that the test injects as an extension does."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.console.browser.test_passkeys import ALONE, sign_out
from tests.integration.console.desk import SCREENS, Desk, Screen, check_page, press
from tests.integration.console.injected_wallet import InjectedWallet
from tests.integration.console.test_wallets import status_of_first_key
from tests.support.mesh import LocalMesh
from tests.support.wallet import SoftwareWallet


def sign_up(desk: Desk, name: str = "Ada & <b>") -> InjectedWallet:
    """Opens an account with a wallet, and returns it."""
    injected = InjectedWallet(desk.context)
    desk.page.goto(f"{desk.url}/sign-up")
    desk.page.get_by_label("Name of the account").fill(name)
    desk.page.get_by_role("button", name="Continue with a wallet").click()
    expect(desk.page.get_by_role("heading", name="Overview")).to_be_visible()
    return injected


def use_a_wallet(page: Page) -> None:
    page.get_by_role("button", name="Use a wallet").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def test_a_newcomer_signs_up_and_in_with_a_wallet(desk: Desk, mesh: LocalMesh) -> None:
    page = desk.page
    injected = sign_up(desk)
    expect(page.get_by_text("1,000 credits")).to_be_visible()
    [text] = injected.texts
    assert text.startswith(f"{desk.url.partition('//')[2]} wants you to sign in with your Ethereum account:\n")
    assert f"\nURI: {desk.url}\nVersion: 1\nChain ID: 1\n" in text
    sign_out(page)
    injected.refuses = True
    page.get_by_role("button", name="Use a wallet").click()
    expect(page.get_by_role("alert")).to_contain_text("The wallet has not signed, because you refused")
    injected.refuses = False
    use_a_wallet(page)
    assert status_of_first_key(mesh, page) == 200
    press(page, "link", "Account")
    row = page.get_by_role("row").filter(has_text="you signed in with it")
    expect(row).to_contain_text(injected.wallet.address)
    press(page, "button", "Remove")
    expect(page.get_by_role("alert")).to_contain_text(ALONE)
    page.goto(f"{desk.url}/confirm?next=/models")
    page.get_by_role("button", name="Sign with the wallet").click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    assert len(injected.texts) == len(set(injected.texts)) == 3
    assert desk.foreign() == []
    # The one refusal is what the browser itself notes as an error.
    assert [complaint for complaint in desk.complaints if "409" not in complaint] == []


def test_a_second_wallet_comes_and_the_first_one_goes(desk: Desk) -> None:
    page = desk.page
    injected = sign_up(desk)
    first = injected.wallet
    injected.wallet = SoftwareWallet()
    page.goto(f"{desk.url}/account")
    page.get_by_label("Name of the new wallet").fill("Zoë's ledger <b>")
    page.get_by_role("button", name="Add a wallet").click()
    expect(page.get_by_role("rowheader", name="Zoë's ledger <b>")).to_be_visible()
    sign_out(page)
    use_a_wallet(page)
    page.goto(f"{desk.url}/account")
    with page.expect_navigation():
        page.get_by_role("row").filter(has_text=first.address).get_by_role("button", name="Remove").click()
    expect(page.get_by_text(first.address)).to_have_count(0)
    sign_out(page)
    injected.wallet = first
    press(page, "button", "Use a wallet")
    expect(page.get_by_role("alert").first).to_contain_text("not known here, or it was removed")


def test_without_a_wallet_or_without_scripts_the_page_says_so(browser: Browser, mesh: LocalMesh) -> None:
    for scripts, text in ((True, "This browser has no Ethereum wallet"), (False, "Wallets need JavaScript")):
        context = browser.new_context(java_script_enabled=scripts)
        desk = Desk(context, mesh.console_url)
        for path in ("/sign-in", "/sign-up"):
            desk.page.goto(desk.url + path)
            expect(desk.page.get_by_text(text)).to_be_visible()
            assert desk.page.get_by_role("button", name=re.compile("wallet")).count() == 0
        context.close()


@pytest.mark.parametrize("screen", SCREENS, ids=str)
def test_every_page_of_wallets_fits_and_can_be_read(browser: Browser, mesh: LocalMesh, screen: Screen) -> None:
    desk = screen.open(browser, mesh.console_url)
    page = desk.page
    sign_up(desk, "W" * 150)
    page.goto(f"{desk.url}/account")
    check_page(page, "account-wallet", screen)
    page.get_by_role("button", name="Add a wallet").click()
    expect(page.get_by_role("alert")).to_be_visible()
    check_page(page, "account-wallet-refused", screen)
    page.goto(f"{desk.url}/confirm")
    check_page(page, "confirm-wallet", screen)
    sign_out(page)
    check_page(page, "sign-in-by-wallet", screen)
    desk.context.close()
