"""Topping up in a real Chromium, from a real chain: what a person sees until the credits are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.console.deposit_mesh import DepositMesh, reload_until
from tests.integration.console.desk import SCREENS, Desk, Screen, check_page, press
from tests.integration.console.injected_wallet import InjectedWallet
from tests.integration.console.person import Owner
from tests.support.mesh import LocalMesh


@pytest.fixture
def desk(deposit_mesh: DepositMesh, browser: Browser) -> Iterator[Desk]:
    """A person at the console that takes deposits."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=deposit_mesh.url)
    yield Desk(context, deposit_mesh.url)
    context.close()


def create_address(desk: Desk) -> str:
    desk.page.goto(f"{desk.url}/top-up")
    press(desk.page, "button", "Create the deposit address")
    return desk.page.locator("#deposit-address").inner_text()


def test_a_transfer_is_credited_when_it_is_final(mesh: LocalMesh, deposit_mesh: DepositMesh, desk: Desk) -> None:
    page = desk.page
    desk.sign_in(Owner(mesh, amount=0).key)
    expect(page.get_by_text("There are no credits left")).to_be_visible()
    address = create_address(desk)
    expect(page.get_by_role("img", name="QR code of the address")).to_be_visible()
    page.get_by_role("button", name="Copy the address").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == address
    tx = deposit_mesh.token.transfer(address, 12_345_678)
    reload_until(page, "Not credited yet.")
    row = page.locator("#pending").get_by_role("row").filter(has_text=tx)
    expect(row).to_contain_text("12.345678")
    expect(row).to_contain_text("not final yet")
    expect(page.get_by_text("No deposit was credited yet.")).to_be_visible()
    page.goto(desk.url)
    expect(page.locator("#available")).to_have_text("$0.00")
    page.goto(f"{desk.url}/top-up")
    deposit_mesh.finalize()
    reload_until(page, "+1,234")
    expect(page.locator("#deposits")).to_contain_text(tx)
    # It is never in both lists.
    expect(page.locator("#pending")).to_have_count(0)
    page.goto(desk.url)
    expect(page.locator("#available")).to_have_text("$12.34")
    page.goto(f"{desk.url}/receipts")
    expect(page.get_by_role("cell", name="Deposit")).to_be_visible()
    assert desk.foreign() == []
    assert desk.complaints == []


def test_the_wallet_of_the_browser_sends_to_the_address(mesh: LocalMesh, deposit_mesh: DepositMesh, desk: Desk) -> None:
    page, chain = desk.page, deposit_mesh.chain
    owner = chain.accounts[0]
    # The wallet is on another chain at first, as they are.
    state = {"chain": "0x1"}

    def others(method: str, parameters: list[Any]) -> Any:
        if method == "eth_chainId":
            return state["chain"]
        if method == "wallet_switchEthereumChain":
            state["chain"] = parameters[0]["chainId"]
            return None
        if method == "eth_requestAccounts":
            return [owner]
        assert method == "eth_sendTransaction"
        return chain.confirmed(chain.rpc(method, *parameters))

    injected = InjectedWallet(desk.context, others=others)
    desk.sign_in(Owner(mesh, amount=0).key)
    address = create_address(desk)
    before = deposit_mesh.token.balance(address)
    amount, send = page.get_by_label("Send from the wallet"), page.get_by_role("button", name="Send")
    for wrong in ("", "0", "1e3", "-1", "1.2345678", "ten", "0x10"):
        amount.fill(wrong)
        send.click()
        expect(page.get_by_role("alert")).to_contain_text("Nothing was sent.")
    injected.refuses = True
    amount.fill("2.50")
    send.click()
    expect(page.get_by_role("alert")).to_contain_text("You refused in the wallet. Nothing was sent.")
    assert deposit_mesh.token.balance(address) == before
    injected.refuses = False
    send.click()
    expect(page.get_by_role("status")).to_contain_text("Sent as 0x")
    assert state["chain"] == hex(chain.chain_id)
    assert deposit_mesh.token.balance(address) == before + 2_500_000
    deposit_mesh.finalize()
    reload_until(page, "+250")
    assert desk.foreign() == []
    assert desk.complaints == []


@pytest.mark.parametrize("screen", SCREENS, ids=str)
def test_every_state_of_the_page_fits_and_can_be_read(
    browser: Browser, mesh: LocalMesh, deposit_mesh: DepositMesh, screen: Screen
) -> None:
    desk = screen.open(browser, deposit_mesh.url)
    # With it, the form for sending is there.
    InjectedWallet(desk.context)
    page = desk.page
    desk.sign_in(Owner(mesh, amount=987_654_321).key)
    page.goto(f"{desk.url}/top-up")
    check_page(page, "top-up-without-address", screen)
    address = create_address(desk)
    check_page(page, "top-up-address", screen)
    deposit_mesh.token.transfer(address, 1_234_567_890_123)
    deposit_mesh.finalize()
    reload_until(page, "+123,456,789")
    deposit_mesh.token.transfer(address, 1)
    reload_until(page, "Not credited yet.")
    check_page(page, "top-up", screen)
    # What the code is scanned from is dark on light in both schemes.
    colours = page.locator(".qr").evaluate(
        "code => [getComputedStyle(code).backgroundColor, getComputedStyle(code.firstElementChild).fill]"
    )
    assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    desk.context.close()
