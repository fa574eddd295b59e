"""The console in a real Chromium: what a person sees and does with scripts, at two widths and in both schemes."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from openai import OpenAI
from playwright.sync_api import Browser, expect
from playwright.sync_api import Error as PlaywrightError

from services.console.closing.close_account import CONFIRMATION
from tests.integration.console.conftest import HOSTILE
from tests.integration.console.desk import SCREENS, TOOLS, Desk, Screen, check_page, press
from tests.integration.console.person import Owner
from tests.support.mesh import LocalMesh


def test_a_newcomer_has_a_key_that_works_after_a_few_clicks(desk: Desk, mesh: LocalMesh) -> None:
    page = desk.page
    desk.sign_in(mesh.console_key)
    page.get_by_role("link", name="Create an API key").click()
    page.get_by_label("Name").fill("from the browser")
    page.get_by_role("button", name="Create the key").click()
    page.get_by_role("button", name="Copy the key").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    secret = page.evaluate("navigator.clipboard.readText()")
    assert secret == page.locator("#secret").inner_text()
    client = OpenAI(base_url=mesh.base_url, api_key=secret, max_retries=0)
    stream = client.chat.completions.create(
        model="tiermesh-pro", messages=[{"role": "user", "content": "hi"}], max_tokens=3, stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    page.get_by_role("link", name="Back to the keys").click()
    expect(page.get_by_role("cell", name=secret[:16])).to_be_visible()
    assert secret not in page.content()
    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, history.state])")
    assert secret not in kept
    assert mesh.console_key not in kept
    assert desk.foreign() == []
    assert desk.complaints == []
    # The page with the key was not kept, and to show it again the form would have to be sent again.
    with pytest.raises(PlaywrightError, match="ERR_CACHE_MISS"):
        page.go_back()


def test_nothing_can_be_injected(desk: Desk, mesh: LocalMesh) -> None:
    desk.sign_in(mesh.console_key)
    page = desk.page
    attempts = {
        "markup": "document.body.innerHTML = '<img src=x onerror=\"window.hit = 1\">'",
        "script": "const s = document.createElement('script'); s.text = 'window.hit = 2'; document.body.append(s)",
        "eval": "setTimeout('window.hit = 3')",
        "policy": "trustedTypes.createPolicy('x', { createHTML: text => text })",
    }
    for name, attempt in attempts.items():
        outcome = page.evaluate(f"() => {{ try {{ {attempt}; return 'done' }} catch (error) {{ return error.name }} }}")
        assert outcome in {"TypeError", "EvalError"}, name
    assert page.evaluate("window.hit") is None
    assert page.evaluate("fetch('https://evil.example/').then(() => 'sent', () => 'refused')") == "refused"
    assert page.evaluate("document.cookie") == ""


class _EvilPage(BaseHTTPRequestHandler):
    """A site of somebody else, on this machine too: browsers keep sites of the internet from it anyway."""

    console_url = ""

    def do_GET(self) -> None:
        body = (
            f"<iframe src='{self.console_url}/sign-in'></iframe>"
            f"<form method=post action='{self.console_url}/account/end-other-sessions'><button>win</button></form>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server names it
        """Writes nothing."""


@pytest.fixture
def evil(mesh: LocalMesh) -> Iterator[str]:
    """The URL of another site."""
    _EvilPage.console_url = mesh.console_url
    with ThreadingHTTPServer(("127.0.0.1", 0), _EvilPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_no_page_of_another_site_shows_it(desk: Desk, mesh: LocalMesh, evil: str) -> None:
    desk.sign_in(mesh.console_key)
    page = desk.page
    page.goto(evil)
    # What stands there is the browser's own page, which says that the console may not be shown in a frame.
    assert page.frames[-1].url.startswith("chrome-error://")
    press(page, "button", "win")
    expect(page.get_by_role("heading", name="This form came from somewhere else")).to_be_visible()
    page.goto(desk.url)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def test_it_can_be_used_by_keyboard_alone(desk: Desk, mesh: LocalMesh) -> None:
    page = desk.page
    page.goto(f"{desk.url}/sign-in")
    # The field has the focus without anybody's doing.
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type(mesh.console_key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Create an API key":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your new key")).to_be_visible()


def test_it_works_without_scripts(browser: Browser, mesh: LocalMesh) -> None:
    context = browser.new_context(java_script_enabled=False)
    desk = Desk(context, mesh.console_url)
    desk.sign_in(mesh.console_key)
    desk.page.get_by_role("link", name="Create an API key").click()
    desk.page.get_by_role("button", name="Create the key").click()
    assert desk.page.locator("#secret").inner_text().startswith("sk-tiermesh-")
    assert desk.page.get_by_role("button", name=re.compile("Copy")).count() == 0
    desk.page.get_by_role("button", name="Sign out").click()
    expect(desk.page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("screen", SCREENS, ids=str)
def test_every_page_fits_and_can_be_read(browser: Browser, mesh: LocalMesh, strange: Owner, screen: Screen) -> None:
    desk = screen.open(browser, mesh.console_url)
    page = desk.page
    page.goto(f"{desk.url}/sign-in")
    check_page(page, "sign-in", screen)
    press(page, "link", "Open an account")
    check_page(page, "sign-up", screen)
    page.get_by_label("Name of the account").fill("W" * 200)
    press(page, "button", "Open the account")
    check_page(page, "signed-up", screen)
    newcomer = page.locator("#secret").inner_text()
    page.goto(desk.url)
    desk.sign_in(strange.key)
    paths = {"overview": "/", "keys": "/keys", "key": f"/keys/{strange.key_id}", "new-key": "/keys/new"}
    paths |= {
        "playground": "/playground?model=tiermesh-max",
        "usage": "/usage",
        "usage-by-key": "/usage?group_by=key",
        "receipts": "/receipts",
        "top-up-by-grants": "/top-up",
        "models": "/models",
        "account": "/account",
        "close-account": "/account/close",
        "confirm": "/confirm",
        "not-found": "/nothing",
    }
    for name, path in paths.items():
        page.goto(desk.url + path)
        check_page(page, name, screen)
    page.goto(f"{desk.url}/playground?model=tiermesh-max-think")
    page.get_by_text("Options").click()
    page.get_by_label("Message").fill(f"What is the weather? {HOSTILE} {'W' * 120}")
    page.get_by_label("Tools").fill(TOOLS)
    page.get_by_role("button", name="Send for").click()
    expect(page.get_by_label("Result of get_weather")).to_be_visible()
    page.get_by_text("Reasoning").click()
    check_page(page, "playground-answered", screen)
    page.get_by_role("button", name="New conversation").click()
    page.get_by_label("Longest answer in tokens").fill("many")
    page.get_by_label("Message").fill("hi")
    page.get_by_role("button", name="Send for").click()
    expect(page.get_by_role("alert")).to_be_visible()
    check_page(page, "playground-refused", screen)
    page.goto(f"{desk.url}/keys/new")
    page.get_by_label("Requests per minute").fill("many")
    press(page, "button", "Create the key")
    check_page(page, "new-key-refused", screen)
    page.get_by_label("Requests per minute").fill("")
    press(page, "button", "Create the key")
    check_page(page, "made-key", screen)
    page.get_by_role("button", name="Sign out").click()
    desk.sign_in(newcomer)
    page.get_by_role("link", name="Account", exact=True).click()
    press(page, "link", "Close the account…")
    page.get_by_label(f"Type “{CONFIRMATION}” to confirm").fill("close it")
    press(page, "button", "Close the account")
    check_page(page, "close-account-refused", screen)
    page.get_by_label(f"Type “{CONFIRMATION}” to confirm").fill(CONFIRMATION)
    press(page, "button", "Close the account")
    expect(page.get_by_role("heading", name="The account is closed")).to_be_visible()
    check_page(page, "account-closed", screen)
    page.goto(desk.url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    desk.context.close()


@pytest.fixture(scope="module")
def strange(mesh: LocalMesh) -> Owner:
    """An owner whose names are as awkward as names get."""
    name = "\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED} \N{PARTY POPPER} " + "W" * 120
    owner = Owner(mesh, name, amount=987_654_321)
    client = OpenAI(base_url=mesh.base_url, api_key=owner.key, max_retries=0)
    client.chat.completions.create(model="tiermesh-pro", messages=[{"role": "user", "content": "hi"}], max_tokens=3)
    return owner
