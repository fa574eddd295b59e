"""Wallets at the console: what was signed elsewhere, before or for something else gets nobody in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from playwright.sync_api import Page

from tests.integration.console.person import Owner, PageShown, Person, beside
from tests.integration.console.test_pages import status_of
from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh
from tests.support.wallet import SoftwareWallet
from tiermesh.auth.v1 import sign_in_pb2, sign_in_pb2_grpc

SIGN_IN, SIGN_UP, ADD, CONFIRM = "/sign-in/wallet", "/sign-up/wallet", "/account/wallets", "/confirm/wallet"
# What `tiermesh up` gives to an account that somebody opens.
WELCOME = 1_000
PAGES = {SIGN_IN: "/sign-in", SIGN_UP: "/sign-up", ADD: "/account", CONFIRM: "/confirm"}


def options(person: Person, path: str, wallet: SoftwareWallet, **fields: Any) -> dict[str, str]:
    """Asks for a message to sign as the script of a page does."""
    asked = {"form_token": person.token(PAGES[path]), "address": wallet.address, **fields}
    answer = person.send(f"{path}/options", asked)
    assert answer.status == 200, answer.source
    found: dict[str, str] = answer.response.json()
    return found


def send(person: Person, path: str, nonce: str, signature: str, **fields: Any) -> PageShown:
    """Sends the form with what a wallet has answered."""
    token = person.token(PAGES[path])
    return person.send(path, {"form_token": token, "nonce": nonce, "signature": signature, **fields})


def complete(person: Person, path: str, wallet: SoftwareWallet, **fields: Any) -> PageShown:
    """Does both, as a page and a wallet do."""
    asked = options(person, path, wallet, **fields)
    return send(person, path, asked["nonce"], wallet.sign(asked["message"]), **fields)


def sign_up(person: Person, name: str = "Zoë") -> SoftwareWallet:
    """Opens an account with a wallet at this browser."""
    wallet = SoftwareWallet()
    answer = complete(person, SIGN_UP, wallet, name=name)
    assert (answer.status, answer.location) == (303, "/"), answer.source
    return wallet


def status_of_first_key(mesh: LocalMesh, page: Page) -> int:
    """Has a key created in a real browser, and returns how the API answers to it."""
    page.get_by_role("link", name="Create an API key").click()
    with page.expect_navigation():
        page.get_by_role("button", name="Create the key").click()
    return status_of(mesh, page.locator("#secret").inner_text())


def test_what_was_signed_is_good_once_and_in_one_browser(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as owner, Person(mesh.console_url) as thief, Person(mesh.console_url) as other:
        wallet = sign_up(owner)
        asked = options(other, SIGN_IN, wallet)
        signature = wallet.sign(asked["message"])
        # A thief who has seen it is faster.
        refused = send(thief, SIGN_IN, asked["nonce"], signature)
        assert (refused.status, refused.shows("took too long, or it was done before")) == (409, True)
        # It is used up by that.
        assert send(other, SIGN_IN, asked["nonce"], signature).status == 409
        asked = options(other, SIGN_IN, wallet)
        signature = wallet.sign(asked["message"])
        form = {"form_token": other.token("/sign-in"), "nonce": asked["nonce"], "signature": signature}
        cookies = other.cookies
        assert other.send(SIGN_IN, form).status == 303
        assert other.open("/").status == 200
        # The very same request once more.
        thief.http.cookies.clear()
        for name, value in cookies.items():
            thief.http.cookies.set(name, value)
        assert thief.send(SIGN_IN, form).status == 409
        assert thief.open("/").status == 303


@pytest.mark.parametrize(
    "changed",
    [
        lambda text: text.replace("localhost", "evil.example", 1),
        lambda text: text.replace("URI: http://localhost", "URI: http://evil.example"),
        lambda text: text.replace("Chain ID: 1\n", "Chain ID: 8453\n"),
        lambda text: text.replace("Sign in to your account.", "Anything else."),
        lambda text: text.replace("Expiration Time: 2", "Expiration Time: 3"),
        lambda _: "",
    ],
    ids=["domain", "uri", "chain", "statement", "expiry", "nothing"],
)
def test_what_was_signed_for_another_page_is_refused(mesh: LocalMesh, changed: Callable[[str], str]) -> None:
    with Person(mesh.console_url) as owner, Person(mesh.console_url) as person:
        wallet = sign_up(owner)
        asked = options(person, SIGN_IN, wallet)
        other = changed(asked["message"])
        assert other != asked["message"]
        refused = send(person, SIGN_IN, asked["nonce"], wallet.sign(other))
        assert (refused.status, refused.shows("Nothing was charged.")) == (403, True)
        assert "session" not in " ".join(person.cookies)
        assert complete(person, SIGN_IN, wallet).status == 303


def test_another_site_gets_no_message_and_none_for_its_name(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as person:
        asked = {"form_token": person.token("/sign-in"), "address": SoftwareWallet().address}
        for origin in ("https://evil.example", "null", None):
            assert person.send(f"{SIGN_IN}/options", asked, origin=origin).status == 403
        message = options(person, SIGN_IN, SoftwareWallet())["message"]
        assert message.startswith(person.url.partition("//")[2] + " wants you to sign in")
    # At the other names of this machine, the message says that name.
    with Person(mesh.console_url.replace("localhost", "127.0.0.1")) as person:
        assert options(person, SIGN_IN, SoftwareWallet())["message"].startswith("127.0.0.1:")


def test_another_accounts_wallets_are_out_of_reach(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as one, Person(mesh.console_url) as two:
        own = sign_up(one)
        other = sign_up(two, "neighbour")
        [remove] = [action for action in two.open("/account").forms if action.endswith("/remove")]
        assert one.send(remove, {"form_token": one.token()}).status == 404
        # That of another account is neither taken over nor confirmed with.
        answer = complete(one, ADD, other)
        assert (answer.status, answer.shows("signs in to an account already")) == (409, True)
        asked = one.send(f"{CONFIRM}/options", {"form_token": one.token("/confirm"), "address": other.address})
        assert (asked.status, list(asked.response.json())) == (403, ["problem"])
        # What was begun at one browser is not completed at the other.
        further = SoftwareWallet()
        begun = options(one, ADD, further)
        assert send(two, ADD, begun["nonce"], further.sign(begun["message"])).status == 409
        assert complete(one, CONFIRM, own).status == 303
        assert two.open("/").status == 200


def test_an_unknown_wallet_is_told_to_open_an_account(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as person:
        refused = complete(person, SIGN_IN, SoftwareWallet())
        assert (refused.status, refused.shows("Open an account with it")) == (403, True)
        for fields in ({}, {"nonce": "0" * 64}, {"nonce": "x", "signature": "y"}):
            answer = person.send(SIGN_IN, {"form_token": person.token("/sign-in"), **fields})
            assert answer.status in {400, 409}
            assert answer.shows("Nothing was charged.")
        for address in ("", "0x", "<script>", "0x" + "a" * 41):
            asked = {"form_token": person.token("/sign-in"), "address": address}
            answer = person.send(f"{SIGN_IN}/options", asked)
            assert (answer.status, list(answer.response.json())) == (400, ["problem"])


async def test_what_is_not_fresh_is_confirmed_with_the_wallet(mesh: LocalMesh, tmp_path: Path) -> None:
    settings = {**beside(mesh), "registration": "open", "fresh_seconds": "0.000001", "wallet_chain_id": "8453"}
    async with ForkedServiceProcess("console", tmp_path, settings) as console:
        with Person(f"http://localhost:{console.address.rpartition(':')[2]}") as person:
            wallet = sign_up(person)
            assert "\nChain ID: 8453\n" in options(person, CONFIRM, wallet)["message"]
            answer = person.send(f"{ADD}/options", {"form_token": person.token()})
            assert (answer.status, answer.location) == (303, "/confirm?next=/account")
            page = person.open("/confirm?next=/account")
            assert page.shows("show the wallet that you signed in with")
            assert complete(person, CONFIRM, wallet).status == 303
            wrong = person.send("/confirm", {"form_token": person.token(), "key": mesh.console_key})
            assert wrong.status == 403


async def test_wallets_can_be_turned_off_and_attempts_are_limited(mesh: LocalMesh, tmp_path: Path) -> None:
    async with ForkedServiceProcess("console", tmp_path, {**beside(mesh), "wallet_chain_id": "0"}) as console:
        with Owner(mesh).at_a_browser(f"http://localhost:{console.address.rpartition(':')[2]}") as person:
            assert person.open("/account").shows("because the operator of this service has turned wallets off")
            assert person.send(f"{ADD}/options", {"form_token": person.token()}).status in {404, 405}
            assert "data-wallet" not in person.open("/confirm").source
    async with ForkedServiceProcess("console", tmp_path, {**beside(mesh), "sign_ins_per_minute": "2"}) as console:
        with Person(f"http://localhost:{console.address.rpartition(':')[2]}") as person:
            token = {"form_token": person.token("/sign-in"), "address": SoftwareWallet().address}
            asked = [person.send(f"{SIGN_IN}/options", token).status for _ in range(3)]
            assert asked == [200, 200, 429]
            assert [person.send(SIGN_IN, token).status for _ in range(3)] == [400, 400, 429]


def test_no_signature_is_written_anywhere(mesh: LocalMesh) -> None:
    with Person(mesh.console_url) as owner, Person(mesh.console_url) as person:
        wallet = sign_up(owner)
        asked = options(person, SIGN_IN, wallet)
        signature = wallet.sign(asked["message"])
        assert send(person, SIGN_IN, asked["nonce"], signature).status == 303
    for path in [path for path in mesh.state_dir.rglob("*") if path.is_file()]:
        assert signature.encode() not in path.read_bytes(), path


def test_first_credits_that_were_missed_come_with_the_next_sign_in(mesh: LocalMesh) -> None:
    """The console ended between the opening of the account and its grant."""
    wallet = SoftwareWallet()
    with grpc.insecure_channel(mesh.addresses["auth"]) as channel:
        auth = sign_in_pb2_grpc.SignInServiceStub(channel)
        asked = sign_in_pb2.CreateWalletChallengeRequest(
            purpose=sign_in_pb2.PASSKEY_PURPOSE_SIGN_UP,
            origin=mesh.console_url,
            chain_id=1,
            browser_token="a browser",
            address=wallet.address,
            account_name="Zoë",
        )
        made = auth.CreateWalletChallenge(asked)
        signed = sign_in_pb2.CreateAccountWithWalletRequest(
            browser_token="a browser", nonce=made.nonce, signature=wallet.sign(made.message), label="Firefox"
        )
        account_id = auth.CreateAccountWithWallet(signed).session.account_id
    assert mesh.command_now("balance", account_id)["available"] == 0
    with Person(mesh.console_url) as owner:
        for _ in range(2):
            assert complete(owner, SIGN_IN, wallet).status == 303
            assert mesh.command_now("balance", account_id)["available"] == WELCOME
            owner.fill_in("/", "/sign-out")
