"""The playground in a real Chromium: it streams, stops, shows what it has cost, and keeps its key to itself."""

from __future__ import annotations

import json
import re
import time

import pytest
from openai import OpenAI
from playwright.sync_api import Locator, Page, Request, Response, expect

from tests.integration.console.conftest import HOSTILE
from tests.integration.console.desk import TOOLS, Desk
from tests.integration.console.person import Owner, session_key
from tests.support.deadlines import stretched
from tests.support.images import plain_image
from tests.support.mesh import LocalMesh

# From the first page to an answer, and from the start of the mesh.
MOST_CLICKS = 6
MOST_SECONDS = 120


def ask(page: Page, text: str, model: str = "tiermesh-pro") -> Locator:
    """Asks something and returns where the answer comes."""
    page.get_by_label("Model and price").select_option(model)
    page.get_by_label("Message").fill(text)
    before = answers(page).count()
    page.get_by_role("button", name="Send for").click()
    answer = answers(page).nth(before)
    expect(answer).to_be_visible()
    return answer


def answers(page: Page) -> Locator:
    return page.get_by_role("article", name="Answer")


def test_an_answer_is_streamed_and_a_stop_is_charged_as_the_table_says(desk: Desk, mesh: LocalMesh) -> None:
    owner = Owner(mesh)
    desk.sign_in(owner.key)
    page = desk.page
    page.get_by_role("link", name="Playground", exact=True).click()
    page.get_by_label("Model and price").select_option("tiermesh-lite")
    expect(page.get_by_role("button", name="Send for $0.01")).to_be_visible()
    answer = ask(page, "a long answer")
    expect(page.get_by_role("button", name="Send for $0.10")).to_be_disabled()
    said = answer.locator(".said")
    expect(said).to_contain_text("It goes on and on.")
    shorter = len(said.inner_text())
    # It grows while it is looked at.
    expect(said).to_have_text(re.compile(rf".{{{shorter + 50},}}", re.DOTALL))
    page.get_by_role("button", name="Stop").click()
    cost = answer.locator(".cost")
    expect(cost).to_contain_text("$0.10 charged")
    expect(cost).to_contain_text("the client disconnected after the first token")
    assert len(said.inner_text()) < 15_000
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.get_by_label("Message")).to_be_focused()
    cost.get_by_role("link", name="Receipt").click()
    expect(page.locator("#receipt")).to_contain_text("10 credits ($0.10)")
    page.goto(desk.url)
    expect(page.locator("#available")).to_have_text("$9.90")
    assert desk.complaints == []


def test_reasoning_is_folded_and_tools_shown_and_answered(desk: Desk, mesh: LocalMesh) -> None:
    desk.sign_in(Owner(mesh).key)
    page = desk.page
    page.goto(f"{desk.url}/playground")
    page.get_by_text("Options").click()
    page.get_by_label("Tools").fill(TOOLS)
    answer = ask(page, "What is the weather?", "tiermesh-max-think")
    thoughts = answer.locator("details")
    expect(thoughts.get_by_text("there is a function")).to_be_hidden()
    thoughts.locator("summary").click()
    expect(thoughts.get_by_text("there is a function")).to_be_visible()
    expect(answer.locator(".call")).to_contain_text("Calls get_weather")
    expect(answer.locator(".call pre")).to_have_text('{"city": "Paris"}')
    expect(answer.locator(".cost")).to_contain_text("$0.20 charged")
    result = page.get_by_label("Result of get_weather")
    expect(result).to_be_focused()
    result.fill("18")
    page.get_by_role("button", name="Send the results").click()
    expect(answers(page).nth(1)).to_contain_text("It is 18 degrees in Paris.")
    expect(answers(page).nth(1).locator(".cost")).to_contain_text("$0.20 charged")
    page.get_by_role("button", name="New conversation").click()
    assert answers(page).count() == 0
    assert desk.complaints == []


def test_a_picture_goes_with_the_message(desk: Desk, mesh: LocalMesh) -> None:
    desk.sign_in(Owner(mesh).key)
    page = desk.page
    page.goto(f"{desk.url}/playground")
    page.get_by_label("Model and price").select_option("tiermesh-pro")
    expect(page.get_by_label("Picture", exact=True)).to_be_hidden()
    page.get_by_label("Model and price").select_option("tiermesh-max")
    chooser = page.get_by_label("Picture", exact=True)
    chooser.set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(page.get_by_text("cannot be read as a picture")).to_be_visible()
    large = plain_image("red", (4000, 20))
    chooser.set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": large})
    expect(page.get_by_role("img", name="The chosen picture")).to_be_visible()
    with page.expect_request("**/playground/answers") as sent:
        answer = ask(page, "What is in it?", "tiermesh-max")
    [text, image] = json.loads(sent.value.post_data or "")["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is in it?"}
    # It was made smaller.
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")
    expect(page.get_by_role("img", name="Your picture")).to_be_visible()
    expect(answer.locator(".cost")).to_contain_text("$0.15 charged")
    assert desk.complaints == []


def test_what_models_write_is_text(desk: Desk, mesh: LocalMesh) -> None:
    desk.sign_in(Owner(mesh).key)
    page = desk.page
    page.goto(f"{desk.url}/playground")
    answer = ask(page, f"a hostile answer, please: {HOSTILE}", "tiermesh-max-think")
    expect(answer.locator(".cost")).to_contain_text("charged")
    assert answer.locator(".said").last.inner_text() == HOSTILE
    assert answer.locator("details .said").text_content() == HOSTILE
    expect(page.get_by_role("article", name="You")).to_contain_text(HOSTILE)
    assert page.locator("main img, main script").count() == 0
    assert page.evaluate("window.hit") is None
    assert desk.complaints == []


def test_its_key_is_nowhere_in_the_browser(desk: Desk, mesh: LocalMesh) -> None:
    seen: list[str] = []

    def note(exchange: Request | Response) -> None:
        seen.append(f"{exchange.url} {exchange.all_headers()}")
        if isinstance(exchange, Request):
            seen.append(exchange.post_data or "")

    owner = Owner(mesh)
    desk.sign_in(owner.key)
    page = desk.page
    page.on("request", note)
    page.goto(f"{desk.url}/playground")
    answer = ask(page, "hi")
    expect(answer.locator(".cost")).to_contain_text("charged")
    [token] = [cookie["value"] for cookie in desk.context.cookies() if "session" in cookie["name"]]
    secret = session_key(mesh, token)
    assert secret
    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, history.state])")
    everything = "\n".join((*seen, *desk.requests, *desk.complaints, page.content(), kept, str(desk.context.cookies())))
    assert "/playground/answers" in everything
    assert secret not in everything
    assert "sk-tiermesh-" not in everything
    assert desk.foreign() == []
    # In another tab the session is ended.
    tab = desk.context.new_page()
    tab.goto(desk.url)
    tab.get_by_role("button", name="Sign out").click()
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Message").fill("hi again")
    page.get_by_role("button", name="Send for").click()
    expect(page.get_by_role("alert")).to_have_text(
        "No answer. The session has ended. Sign in again. Nothing was charged."
    )
    client = OpenAI(base_url=mesh.base_url, api_key=secret, max_retries=0)
    with pytest.raises(Exception, match="401"):
        client.models.list()


def test_it_can_be_used_by_keyboard_alone(desk: Desk, mesh: LocalMesh) -> None:
    desk.sign_in(Owner(mesh).key)
    page = desk.page
    page.goto(f"{desk.url}/playground")
    page.get_by_label("Model and price").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Message")).to_be_focused()
    page.keyboard.type("a long answer")
    page.keyboard.press("Control+Enter")
    expect(answers(page).first).to_contain_text("It goes on")
    for _ in range(10):
        if page.evaluate("document.activeElement.id") == "stop":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(answers(page).first.locator(".cost")).to_contain_text("$0.10 charged")


@pytest.mark.parametrize("end", ["playground", "program"])
def test_a_newcomer_has_an_answer_in_six_clicks_and_two_minutes(desk: Desk, mesh: LocalMesh, end: str) -> None:
    page = desk.page
    clicks: list[str] = []
    page.expose_function("noteClick", lambda label: clicks.append(label))  # noqa: PLW0108 - it looks into a function of Python's
    # What the keyboard sends off counts as no click of the mouse; nothing here uses it.
    page.add_init_script(
        "addEventListener('click', ({ isTrusted, target }) => isTrusted && noteClick(target.textContent), true)"
    )
    began = time.monotonic()
    page.goto(desk.url)
    page.get_by_role("link", name="Open an account").click()
    page.get_by_label("Name of the account").fill("A newcomer")
    page.get_by_role("button", name="Open the account").click()
    page.get_by_role("button", name="I have kept it. Sign in").click()
    if end == "playground":
        page.get_by_role("link", name="playground", exact=True).click()
        answer = ask(page, "What is the weather?")
        expect(answer.locator(".said")).not_to_be_empty()
    else:
        page.get_by_role("link", name="Create an API key").click()
        page.get_by_role("button", name="Create the key").click()
        client = OpenAI(base_url=mesh.base_url, api_key=page.locator("#secret").inner_text(), max_retries=0)
        stream = client.chat.completions.create(
            model="tiermesh-pro", messages=[{"role": "user", "content": "What is the weather?"}], stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert mesh.start_seconds + time.monotonic() - began < stretched(MOST_SECONDS)
    assert 0 < len(clicks) <= MOST_CLICKS, clicks
    assert desk.foreign() == []
