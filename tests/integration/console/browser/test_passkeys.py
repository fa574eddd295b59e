"""Passkeys and recovery codes in a real Chromium, with an authenticator that it plays itself."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.console.desk import SCREENS, Desk, Screen, check_page, press
from tests.integration.console.person import Owner
from tests.integration.console.test_pages import status_of
from tests.integration.console.virtual_authenticator import VirtualAuthenticator
from tests.support.mesh import LocalMesh

ALONE = "Nothing else signs in to this account"


def sign_up(desk: Desk, name: str = "Zoë & <b>") -> VirtualAuthenticator:
    """Opens an account with a passkey, and returns what keeps it."""
    authenticator = VirtualAuthenticator(desk.page)
    desk.page.goto(f"{desk.url}/sign-up")
    desk.page.get_by_label("Name of the account").fill(name)
    desk.page.get_by_role("button", name="Continue with a passkey").click()
    expect(desk.page.get_by_role("heading", name="Overview")).to_be_visible()
    return authenticator


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def use_a_passkey(page: Page) -> None:
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def add_a_passkey(page: Page, name: str) -> None:
    page.get_by_label("Name of the new passkey").fill(name)
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("rowheader", name=name)).to_be_visible()


def test_a_newcomer_signs_up_and_in_with_a_passkey(desk: Desk, mesh: LocalMesh) -> None:
    page = desk.page
    authenticator = sign_up(desk)
    expect(page.get_by_text("1,000 credits")).to_be_visible()
    [credential] = authenticator.credentials
    assert (credential["rpId"], credential["isResidentCredential"]) == ("localhost", True)
    sign_out(page)
    use_a_passkey(page)
    page.get_by_role("link", name="Create an API key").click()
    press(page, "button", "Create the key")
    secret = page.locator("#secret").inner_text()
    assert status_of(mesh, secret) == 200
    page.get_by_role("link", name="Back to the keys").click()
    row = page.get_by_role("row").filter(has_text="you signed in with it")
    expect(row).to_contain_text("passkey")
    press(page, "link", "Account")
    expect(page.get_by_text("Zoë & <b>", exact=True)).to_be_visible()
    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, history.state])")
    assert credential["credentialId"] not in kept
    assert desk.foreign() == []
    assert desk.complaints == []


def test_a_second_passkey_comes_and_goes_and_the_last_one_stays(desk: Desk) -> None:
    page = desk.page
    first = sign_up(desk)
    page.goto(f"{desk.url}/account")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("has a passkey of this account already")
    press(page, "button", "Remove")
    expect(page.get_by_role("alert")).to_contain_text(ALONE)
    kept = first.credentials
    first.remove()
    second = VirtualAuthenticator(page)
    add_a_passkey(page, "Zoë's phone <b>")
    sign_out(page)
    use_a_passkey(page)
    page.goto(f"{desk.url}/account")
    row = page.get_by_role("row").filter(has_text="you signed in with it")
    expect(row).to_contain_text("Zoë's phone <b>")
    with page.expect_navigation():
        page.get_by_role("row").filter(has_text="Chrome on Linux").get_by_role("button", name="Remove").first.click()
    expect(page.get_by_role("button", name="Remove")).to_have_count(1)
    press(page, "button", "Remove")
    expect(page.get_by_role("alert")).to_contain_text(ALONE)
    # The one that was removed signs nobody in any more.
    sign_out(page)
    second.remove()
    VirtualAuthenticator(page).take(kept)
    press(page, "button", "Use a passkey")
    expect(page.get_by_role("alert").first).to_contain_text("not known here, or it was removed")


def test_a_copied_passkey_is_noticed_by_its_counter(desk: Desk) -> None:
    page = desk.page
    authenticator = sign_up(desk)
    before = authenticator.credentials
    sign_out(page)
    use_a_passkey(page)
    sign_out(page)
    authenticator.remove()
    VirtualAuthenticator(page).take(before)
    press(page, "button", "Use a passkey")
    expect(page.get_by_role("alert").first).to_contain_text("its counter went back")


def test_who_is_not_recognized_is_told_and_can_try_again(desk: Desk) -> None:
    page = desk.page
    authenticator = sign_up(desk)
    sign_out(page)
    authenticator.verify(verifies=False)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("The passkey was not used")
    authenticator.verify(verifies=True)
    use_a_passkey(page)


def test_the_passkey_is_shown_once_more(desk: Desk) -> None:
    page = desk.page
    sign_up(desk)
    page.goto(f"{desk.url}/confirm?next=/models")
    page.get_by_role("button", name="Use the passkey").click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    assert desk.complaints == []


def test_a_lost_passkey_is_replaced_with_the_recovery_code(desk: Desk) -> None:
    page = desk.page
    lost = sign_up(desk)
    page.goto(f"{desk.url}/account")
    press(page, "button", "Create a recovery code")
    code = page.locator("#secret").inner_text()
    page.get_by_role("link", name="Back to the account").click()
    expect(page.get_by_text("There is a code from")).to_be_visible()
    sign_out(page)
    lost.remove()
    page.get_by_role("link", name="Use a recovery code").click()
    page.get_by_label("Recovery code").fill(code.lower().replace("-", " "))
    press(page, "button", "Continue")
    expect(page.get_by_role("heading", name="How will you sign in?")).to_be_visible()
    # Nothing else can be done.
    for path in ("/", "/keys", "/keys/new", "/account", "/usage"):
        page.goto(desk.url + path)
        expect(page.get_by_role("heading", name="How will you sign in?")).to_be_visible()
    found = VirtualAuthenticator(page)
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("heading", name="Passkeys")).to_be_visible()
    assert len(found.credentials) == 1
    sign_out(page)
    use_a_passkey(page)
    sign_out(page)
    page.get_by_role("link", name="Use a recovery code").click()
    page.get_by_label("Recovery code").fill(code)
    press(page, "button", "Continue")
    expect(page.get_by_role("alert")).to_contain_text("This is not a recovery code that works")
    # The refusal is the one thing that the browser itself notes as an error.
    assert [text for text in desk.complaints if "403" not in text] == []


def test_without_scripts_the_page_says_why_and_keys_and_codes_work(browser: Browser, mesh: LocalMesh) -> None:
    owner = Owner(mesh)
    context = browser.new_context(java_script_enabled=False)
    desk = Desk(context, mesh.console_url)
    page = desk.page
    for path in ("/sign-in", "/sign-up"):
        page.goto(desk.url + path)
        expect(page.get_by_text("Passkeys need JavaScript")).to_be_visible()
        assert page.get_by_role("button", name=re.compile("passkey")).count() == 0
    desk.sign_in(owner.key)
    page.goto(f"{desk.url}/account")
    press(page, "button", "Create a recovery code")
    code = page.locator("#secret").inner_text()
    sign_out(page)
    page.goto(f"{desk.url}/recover")
    page.get_by_label("Recovery code").fill(code)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Get a key").click()
    secret = page.locator("#secret").inner_text()
    page.get_by_role("link", name="I have kept it").click()
    expect(page.get_by_role("heading", name="Account", exact=True)).to_be_visible()
    sign_out(page)
    desk.sign_in(secret)
    context.close()


def test_at_an_address_without_a_name_the_page_says_where_passkeys_work(desk: Desk) -> None:
    desk.page.goto(desk.url.replace("localhost", "127.0.0.1") + "/sign-in")
    link = desk.page.get_by_role("link", name=desk.url)
    expect(link).to_have_attribute("href", f"{desk.url}/sign-in")
    assert desk.page.get_by_role("button", name="Use a passkey").count() == 0


def test_it_can_be_used_by_keyboard_alone(desk: Desk) -> None:
    page = desk.page
    sign_up(desk)
    sign_out(page)
    expect(page.get_by_label("API key")).to_be_focused()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Use a passkey":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("screen", SCREENS, ids=str)
def test_every_page_of_passkeys_fits_and_can_be_read(browser: Browser, mesh: LocalMesh, screen: Screen) -> None:
    desk = screen.open(browser, mesh.console_url)
    page = desk.page
    authenticator = sign_up(desk, "W" * 150)
    page.goto(f"{desk.url}/account")
    check_page(page, "account-one-passkey", screen)
    authenticator.remove()
    authenticator = VirtualAuthenticator(page)
    add_a_passkey(page, "\N{HEBREW LETTER SHIN} \N{PARTY POPPER} " + "W" * 120)
    check_page(page, "account-passkeys", screen)
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("alert")).to_be_visible()
    check_page(page, "account-passkey-refused", screen)
    page.goto(f"{desk.url}/keys")
    check_page(page, "keys-of-passkeys", screen)
    with page.expect_navigation():
        page.get_by_role("link", name="Manage").first.click()
    check_page(page, "key-of-a-passkey", screen)
    page.goto(f"{desk.url}/confirm")
    check_page(page, "confirm-passkey", screen)
    page.goto(f"{desk.url}/account")
    press(page, "button", "Create a recovery code")
    check_page(page, "recovery-code", screen)
    code = page.locator("#secret").inner_text()
    sign_out(page)
    page.goto(f"{desk.url}/recover")
    check_page(page, "recover", screen)
    page.get_by_label("Recovery code").fill("a guess")
    press(page, "button", "Continue")
    check_page(page, "recover-refused", screen)
    page.get_by_label("Recovery code").fill(code)
    press(page, "button", "Continue")
    check_page(page, "new-way-in", screen)
    press(page, "button", "Get a key")
    check_page(page, "recovered", screen)
    desk.context.close()
